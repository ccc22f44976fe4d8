"""An ONNX file of another library, read with the weights that lie beside it.

Today's `torch.onnx.export` writes the weights of `p.onnx` into `p.onnx.data`. They are read here, once, into the
model itself: ONNX Runtime would follow any path that a file names.
"""

from collections.abc import Iterator
from pathlib import Path

import onnx
from onnx import TensorProto

from odeploy_runtime.errors import ContractError, FormatError, MissingError, first_line
from odeploy_runtime.policy_file.file import MANIFEST_KEY
from odeploy_runtime.policy_file.protobuf import metadata_spans
from odeploy_runtime.regular_file import POLICY_BYTES, read_data, read_regular


def read_model(path: Path) -> tuple[onnx.ModelProto, bytes]:
    """Read a model with all weights inside, and the bytes that its hash covers.

    Raises:
        MissingError: no such file, or no weights beside it.
        FormatError: not an ONNX file.
        ContractError: a policy file, or weights that do not lie beside the file.
    """
    where = str(path)
    data = read_data(path, "an ONNX file", "give the path of the model")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception as error:  # noqa: BLE001 - protobuf raises its own
        raise invalid(where, error) from None
    beside = _read_beside(model, path)
    if beside:
        data += b"".join(beside[name] for name in sorted(beside))
    if MANIFEST_KEY in metadata_spans(model.SerializeToString(), where):
        raise ContractError(
            where=where, expected="a bare ONNX file", got="a policy file", remedy="serve it as it is"
        )
    return model, data


def invalid(where: str, error: Exception) -> FormatError:
    """Return the error of a file that is no valid model."""
    return FormatError(
        where=where,
        expected="a valid ONNX model",
        got=first_line(error),
        remedy="export it again, with the weights inside",
    )


def _read_beside(model: onnx.ModelProto, path: Path) -> dict[str, bytes]:
    """Move the weights of other files into a model; return the files by name."""
    files: dict[str, bytes] = {}
    for tensor in _tensors(model.graph):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        name, where = entries.get("location", ""), f"{path}, weight {tensor.name}"
        if not name or Path(name).name != name or name in (".", ".."):
            raise ContractError(
                where=where,
                expected="a plain file name in the same folder",
                got=repr(name[:100]),
                remedy="save the model again with its weights in one file beside it",
            )
        if name not in files:
            files[name] = _content(path.parent / name, where)
        start = int(entries.get("offset", "0"))
        end = start + int(entries.get("length", str(len(files[name]) - start)))
        if not 0 <= start <= end <= len(files[name]):
            raise ContractError(
                where=where,
                expected=f"bytes within the {len(files[name]):,} of {name}",
                got=f"{start:,} to {end:,}",
                remedy="copy both files again",
            )
        tensor.raw_data = files[name][start:end]
        del tensor.external_data[:]
        tensor.data_location = TensorProto.DEFAULT
    return files


def _content(path: Path, where: str) -> bytes:
    try:
        return read_regular(path, POLICY_BYTES)
    except OSError as error:
        raise MissingError(
            where=where,
            expected=f"its numbers in {path.name}, beside the file",
            got=error.strerror or type(error).__name__,
            remedy="copy both files into one folder",
        ) from None


def _tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    """Yield all tensors, including those of constants, loops and branches."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inside in (attribute.g, *attribute.graphs):
                yield from _tensors(inside)
