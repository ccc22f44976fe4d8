"""Description of the machine of a measurement."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


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


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
