"""A TorchScript archive as a policy: `odeploy export --from torchscript MODEL.pt`.

An archive is a program, and loading it runs it. It contains no Python, and its unpickler builds only types that
the archive's own code declares: torch refuses a pickle that names any other. But TorchScript has operators that
read and write files, and `__setstate__` may use them when the archive is loaded (a test archive did write a file).
So load archives of unknown origin only in a sandbox. The exported policy file has no such operators.
"""

import hashlib
import io
import logging
import re
import warnings
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from odeploy_export.graphs.tracing import OPSET
from odeploy_export.sources.external import LOG_STD, External
from odeploy_export.sources.torch_module import references, require_answer
from odeploy_runtime.errors import ContractError, FormatError, first_line
from odeploy_runtime.regular_file import read_data
from odeploy_sim.tasks.task import Task

log = logging.getLogger(__name__)

_OPERATOR = re.compile(r"'?(aten::\w+|prim::\w+)'?")
_NOTE = "torchscript: loading the archive runs its program; load only archives that you trust"


def from_torchscript(path: Path, task: Task, noise_size: int) -> External:
    """Load an archive that `torch.jit.save` wrote, which runs its program.

    Raises:
        MissingError: no such file.
        FormatError: not a TorchScript archive.
        ContractError: a module that does not fit the task, or an operator that ONNX does not have.
    """
    content = read_data(path, "a TorchScript archive", "give the file that torch.jit.save wrote")
    script = _loaded(content, str(path))
    require_answer(script, task, noise_size, str(path))
    log.info(_NOTE)
    return External(
        model=_converted(script, len(task.observation), noise_size, str(path)),
        references=references(script, task, noise_size),
        witness="torch",
        method="torchscript",
        name=f"{task.name}-{path.stem}",
        where=str(path),
        noise_size=noise_size,
        provenance={
            "class": script.original_name,
            "source_hash": hashlib.sha256(content).hexdigest(),
            "versions": {"torch": torch.__version__},
        },
        squashed_by=next((n for n, p in script.named_parameters() if p.dim() > 1 and LOG_STD.search(n)), None),
    )


def _loaded(content: bytes, where: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch deprecates TorchScript
            script = torch.jit.load(io.BytesIO(content), map_location="cpu")  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError) as error:
        raise FormatError(
            where=where,
            expected="a TorchScript archive",
            got=first_line(error),
            remedy="save it with torch.jit.save; for a state dict or a pickled module give --from module",
        ) from None
    _onto_cpu(script)
    for parameter in script.parameters():
        parameter.requires_grad = False  # a script has no requires_grad_
    return script.float().eval()


def _onto_cpu(script: Any) -> None:
    """Replace the devices that tracing on a GPU wrote into a program."""
    for module in script.modules():
        for graph in (module.graph,) if hasattr(module, "graph") else ():
            for node in graph.findAllNodes("prim::Constant", recurse=True):
                if str(node.output().type()) == "Device" and node.hasAttribute("value"):
                    node.s_("value", "cpu")


class _FlatNoise(nn.Module):
    """Script with noise (B, D), for a graph with noise (B, 1, 1, D)."""

    def __init__(self, script: nn.Module) -> None:
        super().__init__()
        self.script = script

    def forward(self, observation: Tensor, noise: Tensor) -> Tensor:
        """Shapes (B, O), (B, 1, 1, D) -> the script's own."""
        answer: Tensor = self.script(observation, noise.reshape(-1, noise.shape[-1]))
        return answer


def _converted(script: Any, observation_size: int, noise_size: int, where: str) -> onnx.ModelProto:
    """Convert by torch's older exporter; the one of `trace_graph` refuses TorchScript."""
    inputs = {"observation": torch.zeros(2, observation_size)}
    if noise_size:
        inputs["noise"] = torch.zeros(2, 1, 1, noise_size)
    file = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        try:
            torch.onnx.export(
                torch.jit.script(_FlatNoise(script)).eval() if noise_size else script,
                tuple(inputs.values()),
                file,  # type: ignore[arg-type]  # this exporter accepts one
                dynamo=False,
                opset_version=OPSET,
                input_names=list(inputs),
                output_names=["action"],
                dynamic_axes={name: {0: "batch"} for name in inputs},
            )
        except Exception as error:  # noqa: BLE001 - the exporter raises its own, and RuntimeErrors
            operator = _OPERATOR.search(str(error))
            raise ContractError(
                where=where,
                expected=f"operators of ONNX opset {OPSET}",
                got=operator[1] if operator else first_line(error),
                remedy="script a module with fixed shapes, built from operators of ONNX",
            ) from None
    return onnx.load_from_string(file.getvalue())
