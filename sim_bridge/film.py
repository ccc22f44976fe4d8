"""`odeploy film TRACE`: the episodes of a trace as a video, rendered afterwards and without a display.

The commands of the trace are played again in a fresh simulation, so that filming costs the loop nothing and any
run that was kept can be watched. Each observation on the way must be the recorded one, bit for bit: what is
seen is what was driven.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import imageio_ffmpeg
import numpy as np
import tyro
from numpy.typing import NDArray
from rich.console import Console

from runtime.errors import ContractError, MissingError, RelayedError, UsageError
from runtime.trace import SKIPPED, Trace, read_trace
from sim_bridge.catalogue import get
from sim_bridge.task import TaskEnv, episode_seed

_BACKENDS = ("egl", "osmesa")
_MAX_FPS = 50
_NO_OPENGL = 3  # exit status of a child that could not open a context


@dataclass(frozen=True)
class Config:
    """Films a trace as an MP4 in the robot's own time."""

    trace: Annotated[Path, tyro.conf.Positional]
    """A trace that `odeploy sim` or `odeploy bench` wrote."""
    out: Path
    """The video to write, such as `hopper.mp4`."""
    episodes: int = 3
    """At most this many, from the first one."""


def main(arguments: list[str]) -> None:
    """Films in a child process: MuJoCo chooses its OpenGL when it is imported, and a wrong choice may abort."""
    config, console = tyro.cli(Config, args=arguments, prog="odeploy film"), Console()
    check_out(config.out)
    read_trace(config.trace)
    film(config.trace, config.out, config.episodes)
    console.print(f"video: {config.out}", soft_wrap=True)


def film(trace: Path, out: Path, episodes: int = 3) -> None:
    """Films with the first OpenGL that works: that of MUJOCO_GL if set, else EGL, else OSMesa.

    Raises:
        MissingError: none works.
        RelayedError: the child's own message, for anything else.
    """
    chosen = os.environ.get("MUJOCO_GL")
    for backend in (chosen,) if chosen else _BACKENDS:
        command = [sys.executable, "-m", "sim_bridge.film", str(trace), str(out), str(episodes)]
        environment = os.environ | {"MUJOCO_GL": backend}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
        if done.returncode != _NO_OPENGL:
            lines = done.stderr.strip().splitlines()
            raise RelayedError(f"film: {lines[-1] if lines else f'the renderer ended with {done.returncode}'}")
    raise MissingError(
        where="OpenGL",
        expected="OpenGL without a display",
        got=f"none through {chosen or ' or '.join(_BACKENDS)}",
        remedy="install Mesa's software renderer: apt-get install libosmesa6 (or libegl1 beside a GPU's driver)",
    )


def check_out(path: Path) -> None:
    """Refuses early what could not be written in the end."""
    if path.suffix != ".mp4" or not path.parent.is_dir():
        raise UsageError(
            where=str(path),
            expected="a file name that ends in .mp4, in a folder that exists",
            got=f"'{path.suffix}' in {path.parent}",
            remedy="give for example --video run.mp4",
        )


def frames(trace: Trace, env: TaskEnv, episodes: int, stride: int = 1) -> Iterator[NDArray[np.uint8]]:
    """A frame of every `stride`-th tick of an episode, counted over those that were stepped, and of its end.

    Raises:
        ContractError: the simulation goes another way than the trace says.
    """
    rows = trace.rows[trace.rows["kind"] != SKIPPED]
    for episode in np.unique(rows["episode"])[:episodes]:
        observation = env.reset(episode_seed(trace.header.seed, int(episode)))
        for i, row in enumerate(rows[rows["episode"] == episode]):
            if i % stride == 0:
                yield env.render()
            if not np.array_equal(observation, row["observation"]):
                raise ContractError(
                    where=f"episode {episode}, tick {row['tick']}",
                    expected="the observation of the trace",
                    got="another one from the same commands",
                    remedy="film on the machine, and with the versions, that recorded the trace",
                )
            observation = env.step(row["action"]).observation
        yield env.render()


def _write(trace: Trace, env: TaskEnv, out: Path, episodes: int) -> None:
    stride = max(1, round(trace.header.task_rate_hz / _MAX_FPS))
    scratch = out.with_name(f".{out.name}")
    writer = None
    try:
        for frame in frames(trace, env, episodes, stride):
            if writer is None:
                size, fps = (frame.shape[1], frame.shape[0]), trace.header.task_rate_hz / stride
                writer = imageio_ffmpeg.write_frames(
                    str(scratch), size, fps=fps, macro_block_size=2, quality=7, output_params=["-f", "mp4"]
                )
                writer.send(None)
            writer.send(np.ascontiguousarray(frame))
        if writer is not None:
            writer.close()
            scratch.replace(out)
    finally:
        scratch.unlink(missing_ok=True)


def _child(trace_path: str, out: str, episodes: str) -> int:
    trace = read_trace(Path(trace_path))
    try:
        env = TaskEnv(get(trace.header.task), trace.header.noise_level, render_mode="rgb_array")
        env.reset(0)
        env.render()
    except Exception as error:  # noqa: BLE001 - each backend and library has its own way to say that it cannot
        print(f"{type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201
        return _NO_OPENGL
    try:
        _write(trace, env, Path(out), int(episodes))
    except ContractError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    os._exit(_child(*sys.argv[1:]))  # OpenGL contexts crash when Python takes them down in its own order
