"""`odeploy film TRACE`: the episodes of a trace as a video or a strip, rendered afterwards and without a display.

The commands of the trace are played again in a fresh simulation, so that filming costs the loop nothing and any
run that was kept can be watched. Each observation on the way must be the recorded one, bit for bit: what is
seen is what was driven.
"""

import os
import subprocess
import sys
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import imageio_ffmpeg
import numpy as np
import tyro
from numpy.typing import NDArray
from rich.console import Console

from odeploy_runtime.errors import ContractError, MissingError, OdeployError, RelayedError, UsageError
from odeploy_runtime.realtime.child_process import python_module
from odeploy_runtime.trace.format import SKIPPED, Trace
from odeploy_runtime.trace.reader import read_trace
from odeploy_sim.catalogue import get
from odeploy_sim.tasks.env import TaskEnv, episode_seed

_BACKENDS = ("egl", "osmesa")
_MAX_FPS = 50
_STRIP = 6  # pictures of an episode, evenly over its steps, each at half its size
_NO_OPENGL = 3  # exit status of a child that could not open a context


@dataclass(frozen=True)
class Config:
    """Films a trace: as an MP4 in the robot's own time, or as a PNG with a row of pictures for each episode."""

    trace: Annotated[Path, tyro.conf.Positional]
    """A trace that `odeploy sim` or `odeploy bench` wrote."""
    out: Path
    """What to write, such as `hopper.mp4` or `hopper.png`."""
    episodes: int = 3
    """At most this many, from the first one."""


def main(arguments: list[str]) -> None:
    """Films in a child process: MuJoCo chooses its OpenGL when it is imported, and a wrong choice may abort."""
    config, console = tyro.cli(Config, args=arguments, prog="odeploy film"), Console()
    check_out(config.out)
    read_trace(config.trace)
    film(config.trace, config.out, config.episodes)
    console.print(f"film: {config.out}", soft_wrap=True)


def film(trace: Path, out: Path, episodes: int = 3) -> None:
    """Films with the first OpenGL that works: that of MUJOCO_GL if set, else EGL, else OSMesa.

    Raises:
        MissingError: none works.
        RelayedError: the child's own message, for anything else.
    """
    chosen = os.environ.get("MUJOCO_GL")
    for backend in (chosen,) if chosen else _BACKENDS:
        command = python_module("odeploy_sim.simulated_robot.film", str(trace), str(out), str(episodes))
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
    if path.suffix not in {".mp4", ".png"} or not path.parent.is_dir():
        raise UsageError(
            where=str(path),
            expected="a file name that ends in .mp4 or .png, in a folder that exists",
            got=f"'{path.suffix}' in {path.parent}",
            remedy="give for example run.mp4",
        )


def frames(trace: Trace, env: TaskEnv, episodes: int, stride: int = 1) -> Iterator[NDArray[np.uint8]]:
    """A frame of every `stride`-th tick of an episode, counted over those that were stepped, and of its end.

    Raises:
        ContractError: the simulation goes another way than the trace says.
        MissingError: no tick was stepped.
    """
    for episode, rows in _stepped(trace, episodes):
        yield from _played(trace, env, episode, rows, {*range(0, len(rows), stride), len(rows)})


def strip(trace: Trace, env: TaskEnv, episodes: int) -> NDArray[np.uint8]:
    """A row of pictures for each episode, from its start to its end.

    Raises:
        ContractError, MissingError: see `frames`.
    """
    made = []
    for episode, rows in _stepped(trace, episodes):
        at = np.linspace(0, len(rows), _STRIP).round().astype(int).tolist()
        shown = dict(zip(sorted(set(at)), _played(trace, env, episode, rows, set(at)), strict=True))
        made.append(np.hstack([shown[i] for i in at]))  # an episode of few ticks shows some of them twice
    return np.vstack(made)


def _stepped(trace: Trace, episodes: int) -> Iterator[tuple[int, NDArray[Any]]]:
    rows = trace.rows[trace.rows["kind"] != SKIPPED]
    if not len(rows):
        raise MissingError(
            where=f"trace of {trace.header.task}",
            expected="a tick that was stepped",
            got="none",
            remedy="record another one",
        )
    for episode in np.unique(rows["episode"])[:episodes].tolist():
        yield episode, rows[rows["episode"] == episode]


def _played(
    trace: Trace, env: TaskEnv, episode: int, rows: NDArray[Any], shown: Container[int]
) -> Iterator[NDArray[np.uint8]]:
    """Frames of those of an episode's ticks that are to be shown; its end is number `len(rows)`."""
    observation = env.reset(episode_seed(trace.header.seed, episode))
    for i, row in enumerate(rows):
        if i in shown:
            yield env.render()
        if not np.array_equal(observation, row["observation"]):
            raise ContractError(
                where=f"episode {episode}, tick {row['tick']}",
                expected="the observation of the trace",
                got="another one from the same commands",
                remedy="film on the machine, and with the versions, that recorded the trace",
            )
        observation = env.step(row["action"]).observation
    if len(rows) in shown:
        yield env.render()


def _write(trace: Trace, env: TaskEnv, out: Path, episodes: int) -> None:
    if out.suffix == ".png":
        form: dict[str, Any] = {
            "fps": 1,
            "codec": "png",
            "pix_fmt_out": "rgb24",
            "output_params": ["-vf", "scale=iw/2:ih/2:flags=area", "-f", "image2", "-update", "1"],
        }
        _encode([strip(trace, env, episodes)], out, form)
    else:
        stride = max(1, round(trace.header.task_rate_hz / _MAX_FPS))
        form = {"fps": trace.header.task_rate_hz / stride, "quality": 7, "output_params": ["-f", "mp4"]}
        _encode(frames(trace, env, episodes, stride), out, form)


def _encode(pictures: Iterable[NDArray[np.uint8]], out: Path, form: dict[str, Any]) -> None:
    """Writes them by ffmpeg, into a scratch file that takes its name when it is whole."""
    scratch = out.with_name(f".{out.name}")
    writer = None
    try:
        for picture in pictures:
            if writer is None:
                size = picture.shape[1], picture.shape[0]
                writer = imageio_ffmpeg.write_frames(str(scratch), size, macro_block_size=2, **form)
                writer.send(None)
            writer.send(np.ascontiguousarray(picture))
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
    except OdeployError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    os._exit(_child(*sys.argv[1:]))  # OpenGL contexts crash when Python takes them down in its own order
