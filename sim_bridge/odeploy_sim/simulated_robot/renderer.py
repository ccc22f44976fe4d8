"""The renderer: the child process that replays a trace and films it.

    python -m odeploy_sim.simulated_robot.renderer TRACE OUT EPISODES TASK

Filming after the run costs the loop nothing.
"""

import math
import os
import sys
from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.errors import MissingError, OdeployError, first_line
from odeploy_runtime.trace.format import SKIPPED, Trace
from odeploy_runtime.trace.reader import read_trace
from odeploy_sim.own_tasks.reference import resolve
from odeploy_sim.simulated_robot.film import NO_OPENGL
from odeploy_sim.tasks.env import TaskEnv, physics_data
from odeploy_sim.tasks.replay import replay

_MOST_FPS = 25
_SHRUNK = "scale='min(320,iw)':-2:flags=area"
_RARER = "fps='min(source_fps,50/3)'"  # a GIF's frame lasts a whole number of hundredths of a second
_CODECS: dict[str, dict[str, Any]] = {
    ".mp4": {"quality": 7, "output_params": ["-f", "mp4"]},
    ".gif": {
        "codec": "gif",
        "pix_fmt_out": "pal8",
        "quality": None,
        "output_params": [
            "-vf",
            f"{_RARER},{_SHRUNK},split[a][b];[a]palettegen[p];[b][p]paletteuse=dither=none",
            "-f",
            "gif",
        ],
    },
    ".webp": {
        "codec": "libwebp",
        "quality": None,
        "output_params": ["-vf", _SHRUNK, "-q:v", "70", "-loop", "0", "-f", "webp"],
    },
}
"""Ending of a film's name -> its encoding. GIF and WebP are at most 320 pixels wide, for pages and messages."""
_STRIP = 6  # pictures of an episode, evenly over its steps, each at half its size


def frames(trace: Trace, env: TaskEnv, episodes: int, stride: int = 1) -> Iterator[NDArray[np.uint8]]:
    """Yield a frame of every `stride`-th stepped tick of each episode, and of its end.

    Raises:
        ContractError: the simulation and the trace diverge.
        MissingError: no tick was stepped.
    """
    for rows in _stepped(trace, episodes):
        yield from _rendered(trace, env, rows, {*range(0, len(rows), stride), len(rows)})


def strip(trace: Trace, env: TaskEnv, episodes: int) -> NDArray[np.uint8]:
    """Return a picture with one row per episode, from its start to its end.

    Raises:
        ContractError, MissingError: see `frames`.
    """
    made = []
    for rows in _stepped(trace, episodes):
        at = np.linspace(0, len(rows), _STRIP).round().astype(int).tolist()
        shown = dict(zip(sorted(set(at)), _rendered(trace, env, rows, set(at)), strict=True))
        made.append(np.hstack([shown[i] for i in at]))  # an episode of few ticks shows some of them twice
    return np.vstack(made)


def _stepped(trace: Trace, episodes: int) -> Iterator[NDArray[Any]]:
    rows = trace.rows[trace.rows["kind"] != SKIPPED]
    if not len(rows):
        raise MissingError(
            where=f"trace of {trace.header.task}",
            expected="a tick that was stepped",
            got="none",
            remedy="record another one",
        )
    for episode in np.unique(rows["episode"])[:episodes].tolist():
        yield rows[rows["episode"] == episode]


def _rendered(
    trace: Trace, env: TaskEnv, rows: NDArray[Any], shown: Container[int]
) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames of the ticks in `shown`.

    The end of the episode is number `len(rows)`.
    """
    for i, _ in enumerate(replay(env, rows, trace.header.seed, trace.header.commanded)):
        if i in shown:
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
        every = stride(trace.header.task_rate_hz)
        form = {"fps": trace.header.task_rate_hz / every, **_CODECS[out.suffix]}
        _encode(frames(trace, env, episodes, every), out, form)


def stride(rate_hz: float) -> int:
    """Return the ticks from one frame to the next, for at most 25 frames a second."""
    return max(1, math.ceil(rate_hz / _MOST_FPS - 1e-9))


def _simplify(env: TaskEnv, *, shrunk: bool) -> None:
    """Leave out what takes most of a frame's time without a GPU.

    These are shadows and reflections. Frames that are shrunk afterwards need no smoothing either.
    """
    data = physics_data(env.env)
    if data is not None:
        data.model.vis.quality.shadowsize = 0
        data.model.mat_reflectance[:] = 0
        if shrunk:
            data.model.vis.quality.offsamples = 0


def _encode(pictures: Iterable[NDArray[np.uint8]], out: Path, form: dict[str, Any]) -> None:
    """Encode with ffmpeg into a scratch file, which gets its name when it is complete."""
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


def main(trace_path: str, out: str, episodes: str, task: str) -> int:
    """Render a trace; return the exit status."""
    trace = read_trace(Path(trace_path))
    env = None
    try:
        env = TaskEnv(resolve(task), trace.header.noise_level, render_mode="rgb_array")
        env.reset(0)
        if Path(out).suffix != ".png":
            _simplify(env, shrunk=Path(out).suffix != ".mp4")
        env.render()
    except Exception as error:  # noqa: BLE001 - each backend and library raises errors of its own
        own = isinstance(error, OdeployError)
        print(error if own else f"{type(error).__name__}: {first_line(error)}", file=sys.stderr)  # noqa: T201
        return 1 if env is not None and physics_data(env.env) is None else NO_OPENGL
    try:
        _write(trace, env, Path(out), int(episodes))
    except OdeployError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    os._exit(main(*sys.argv[1:]))  # OpenGL contexts crash when Python takes them down in its own order
