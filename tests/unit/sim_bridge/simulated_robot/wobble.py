"""A recorded run under a fixed oscillation, and its frames, for tests of films."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.trace.format import APPLIED, ENDED, GOES_ON, SKIPPED, STAMPS, new_header
from odeploy_runtime.trace.reader import read_trace
from odeploy_runtime.trace.writer import TraceWriter
from odeploy_runtime.transport import messages
from odeploy_sim.catalogue import get
from odeploy_sim.simulated_robot import renderer
from odeploy_sim.tasks.env import TaskEnv, episode_seed

TICKS = 12


def recorded(path: Path, name: str, skip: tuple[int, ...] = (), bend: float = 0.0) -> Path:
    """Write a trace of two episodes under a fixed oscillation, with `bend` added to the last observation."""
    task = get(name)
    header = new_header(
        task=name,
        scored_by=task.scored_by,
        mode="realtime",
        rate_hz=task.rate_hz,
        task_rate_hz=task.rate_hz,
        deadline_ns=0,
        seed=3,
        policy="wobble",
        fingerprint="f" * 64,
        observation=task.observation,
        action=task.action,
        obtained={},
    )
    writer, env = TraceWriter(path, header, 100), TaskEnv(task)
    for episode in range(2):
        observation = env.reset(episode_seed(3, episode))
        for tick in range(TICKS):
            if tick in skip:
                writer.append(episode, tick, SKIPPED, (1,) * len(STAMPS))
                continue
            action = np.full(len(task.action), np.sin(tick), np.float32)
            last = tick == TICKS - 1
            stored = observation + np.float32(bend if last else 0)
            values = messages.to_bytes(stored) + messages.to_bytes(action)
            end = ENDED if last else GOES_ON
            writer.append(episode, tick, APPLIED, (1,) * len(STAMPS), end=end, values=values)
            observation = env.step(action).observation
    writer.close()
    env.close()
    return path


def pictures(path: Path, name: str = "grid-world", **options: int) -> list[NDArray[np.uint8]]:
    env = TaskEnv(get(name), render_mode="rgb_array")
    made = list(renderer.frames(read_trace(path), env, **({"episodes": 9} | options)))
    env.close()
    return made
