"""The library of native.c: compiled here, or the installed package's.

python -m odeploy_runtime.inference.native_library

builds the package's library, for machines without a compiler. The container's image does so.
"""

import ctypes
import functools
import hashlib
import tempfile
from pathlib import Path

from odeploy_runtime.errors import MissingError, first_line
from odeploy_runtime.realtime.child_process import PIPE, ending, finish

_COMPILER = ("cc", "-O3", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
_THIS_PROCESSOR, _ANY_PROCESSOR = "-march=native", "-DPORTABLE"
_SOURCE = Path(__file__).with_name("native.c")
PACKAGED = Path(__file__).with_name("native.so")


@functools.cache
def native_library() -> ctypes.CDLL:
    """Return native.c as a library of this process, and of its forks.

    Compiled once per process, since a cache on disk could be tampered with. Without a compiler it is the installed
    package's. No other folder is searched.

    Raises:
        MissingError: no compiler, or it fails; and the package has no library.
    """
    try:
        return compiled()
    except MissingError:
        library = packaged()
        if library is None:
            raise
        return library


def compiled(compiler: tuple[str, ...] = (*_COMPILER, _THIS_PROCESSOR)) -> ctypes.CDLL:
    """Compile native.c for this machine's processor.

    Raises:
        MissingError: no compiler, or it fails.
    """
    try:
        with tempfile.TemporaryDirectory() as folder:
            library = Path(folder) / "native.so"
            _build(compiler, library)
            return _loaded(library)
    except OSError as error:
        raise MissingError(
            where=compiler[0],
            expected="a C compiler, which the native backend needs on this machine",
            got=first_line(error),
            remedy="install one (Debian: gcc), or serve with ONNX Runtime",
        ) from None


def packaged(path: Path = PACKAGED) -> ctypes.CDLL | None:
    """Return the installed package's library.

    Return None without one, or if it was built from another native.c.
    """
    try:
        library = _loaded(path)
        built_from = ctypes.c_char_p.in_dll(library, "built_from").value
    except (OSError, ValueError):
        return None
    return library if built_from == _digest().encode() else None


def _build(compiler: tuple[str, ...], library: Path) -> None:
    define = f'-DBUILT_FROM="{_digest()}"'
    status, _, errors = finish([*compiler, define, "-o", str(library), str(_SOURCE)], stdout=PIPE)
    if status != 0:
        raise OSError(errors or ending(status))


def _loaded(library: Path) -> ctypes.CDLL:
    native = ctypes.CDLL(str(library))
    native.run.argtypes, native.run.restype = (ctypes.c_void_p, ctypes.c_int32), None
    return native


def _digest() -> str:
    return hashlib.sha256(_SOURCE.read_bytes()).hexdigest()


if __name__ == "__main__":
    _build((*_COMPILER, _ANY_PROCESSOR), PACKAGED)
