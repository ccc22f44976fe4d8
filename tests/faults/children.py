"""The child processes of a robot."""

from pathlib import Path


def child_of(pid: int, module: str) -> int:
    """Return the process id of the one child that runs a module."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    (found,) = [c for c in children if module.encode() in Path(f"/proc/{c}/cmdline").read_bytes()]
    return int(found)
