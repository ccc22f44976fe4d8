"""Film of a trace: rendered after the run, without a display, in a child.

MuJoCo chooses its OpenGL when it is imported, and a wrong choice may abort the process; so `renderer.py` runs in a
child, with one backend after the other.
"""

import importlib.util
import os
import signal
from pathlib import Path

from odeploy_runtime.errors import MissingError, RelayedError, UsageError
from odeploy_runtime.realtime.child_process import PIPE, finish, python_module
from odeploy_sim.tasks.task import Task

NO_OPENGL = 3
"""Exit status of a renderer that could not open an OpenGL context."""

_BACKENDS = ("egl", "osmesa")
_ENDINGS = (".mp4", ".gif", ".webp", ".png")


def film(trace: Path, out: Path, task: Task, episodes: int = 3) -> None:
    """Film with the first OpenGL that works.

    That is the one in MUJOCO_GL if set, else EGL, else OSMesa.

    Raises:
        ModuleNotFoundError: the simulation or ffmpeg is not installed.
        MissingError: none works.
        RelayedError: the renderer failed; its own message.
    """
    for package in ("mujoco", "imageio_ffmpeg"):
        if importlib.util.find_spec(package) is None:
            raise ModuleNotFoundError(name=package)
    chosen = os.environ.get("MUJOCO_GL")
    arguments = str(trace), str(out), str(episodes), task.argument
    command = python_module("odeploy_sim.simulated_robot.renderer", *arguments, orphaned=signal.SIGKILL)
    for backend in (chosen,) if chosen else _BACKENDS:
        status, _, errors = finish(command, stdout=PIPE, environment=os.environ | {"MUJOCO_GL": backend})
        if status == 0:
            return
        if status != NO_OPENGL:
            lines = errors.strip().splitlines()
            raise RelayedError(f"film: {lines[-1] if lines else f'the renderer ended with {status}'}")
    raise MissingError(
        where="OpenGL",
        expected="OpenGL without a display",
        got=f"none through {chosen or ' or '.join(_BACKENDS)}",
        remedy="install Mesa's software renderer: apt-get install libosmesa6 (or libegl1 beside a GPU's driver)",
    )


def require_writable(path: Path) -> None:
    """Raise a UsageError, before any run, if a film cannot be written to `path`."""
    if path.suffix not in _ENDINGS or not path.parent.is_dir():
        raise UsageError(
            where=str(path),
            expected="a file name that ends in .mp4, .gif, .webp or .png, in a folder that exists",
            got=f"'{path.suffix}' in {path.parent}",
            remedy="give for example run.mp4",
        )
