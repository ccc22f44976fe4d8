"""Description of a measurement: its machine, versions, and odeploy's own revision."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from odeploy_runtime.realtime.child_process import PIPE, finish

SOURCE = Path(__file__).resolve().parents[3]


def machine() -> dict[str, str]:
    """Return processor, cores, kernel and the versions relevant to latency."""
    facts = {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
    for package in ("onnxruntime", "onnxruntime-gpu", "pyzmq", "numpy", "mujoco"):
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            continue
    return facts


def machine_line() -> str:
    """Return processor, cores, kernel and Python version in one line."""
    f = machine()
    return f"{f['processor']}, {f['cores']} cores, kernel {f['kernel']}, Python {f['python']}"


def git_revision(source: Path = SOURCE) -> str | None:
    """Return the revision of odeploy's own checkout.

    A repository of the user around an installed odeploy does not count.
    """

    def git(*arguments: str) -> str | None:
        try:
            status, output, _ = finish(["git", "-C", str(source), *arguments], stdout=PIPE)
        except OSError:  # no git on this machine
            return None
        return output.strip() if status == 0 else None

    top = git("rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != source.resolve():
        return None
    return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
