"""`odeploy sim TASK`: one simulated robot, driven by a server, leaving a trace."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
import zmq
from rich.console import Console
from rich.progress import track

from runtime import wire
from runtime.child import serving
from runtime.client import RobotClient
from runtime.clock import MonotonicClock, real_time
from runtime.errors import UsageError
from runtime.guard import Guard
from runtime.latency import summary
from runtime.pretouch import PreTouch
from runtime.sockets import DEFAULT_ENDPOINT
from runtime.table import LEGEND, one_run
from runtime.trace import TraceWriter, new_header, read_trace
from sim_bridge.catalogue import get
from sim_bridge.film import check_out, film
from sim_bridge.robot import Robot, deadline_after_due_ns, measured_step_ns
from sim_bridge.task import Task, TaskEnv
from sim_bridge.view import ViewedEnv

_REHEARSAL_NS = 10_000  # first guess of a hot rehearsal; it is measured on the way

Mode = Literal["lockstep", "realtime", "stream"]


@dataclass(frozen=True)
class Config:
    """Drives a simulated robot with the actions of a server and records every tick."""

    task: Annotated[str, tyro.conf.Positional]
    """Name of a catalogued task."""
    endpoint: str = DEFAULT_ENDPOINT
    """Where the server listens."""
    policy: Path | None = None
    """A policy file: start a server for it here, and end it afterwards."""
    mode: Mode = "realtime"
    """Who waits for whom."""
    rate: float | None = None
    """Ticks per wall-clock second; the task's own rate if not given."""
    episodes: int = 10
    """How many."""
    noise: float = 1.0
    """Noise level of the task, where it has levels (`odeploy tasks TASK`)."""
    seed: int = 1
    """Decides resets and the policy's noise."""
    trace: Path = Path("runs/sim.trace")
    """Where the trace goes."""
    video: Path | None = None
    """Film the first three episodes as an MP4 when the run is over (`odeploy film` films any trace)."""
    view: bool = False
    """Show the robot in MuJoCo's viewer; that disturbs the loop's timing."""
    robot: str = field(default_factory=lambda: f"sim-{os.getpid()}")
    """Name of this robot; a server refuses a second one of the same name."""
    timeout: float = 10.0
    """Seconds to wait for a server."""


def main(arguments: list[str]) -> None:
    """Runs the episodes and prints their ledger."""
    config, console = tyro.cli(Config, args=arguments, prog="odeploy sim"), Console()
    task = get(config.task)
    require_rate(config.rate)
    if config.video is not None:
        check_out(config.video)
    with contextlib.ExitStack() as stack:
        endpoint = config.endpoint
        if config.policy is not None:
            endpoint = stack.enter_context(serving(config.policy))
        drive(config, task, endpoint, console)
    trace = read_trace(config.trace)
    console.print(one_run(f"{trace.header.policy} on {task.name}, {config.mode}", summary(trace)))
    console.print(LEGEND)
    console.print(f"trace: {config.trace}", soft_wrap=True)
    if config.video is not None:
        film(config.trace, config.video)
        console.print(f"video: {config.video}", soft_wrap=True)


def drive(config: Config, task: Task, endpoint: str, console: Console) -> None:
    """Runs the episodes; whatever ends them, the trace of what was run is kept."""
    clock, env = MonotonicClock(), (ViewedEnv if config.view else TaskEnv)(task, config.noise)
    rate_hz = config.rate or task.rate_hz
    step_ns = measured_step_ns(env, clock)
    deadline_ns = 0 if config.mode == "lockstep" else deadline_after_due_ns(task, rate_hz, step_ns)
    hello = wire.Hello(
        protocol=wire.PROTOCOL,
        robot=config.robot,
        task=task.name,
        rate_hz=rate_hz,
        seed=config.seed,
        observation=list(task.observation_names),
        action=list(task.action_names),
        mode="stream" if config.mode == "stream" else "request",
    )
    with zmq.Context[zmq.Socket[bytes]]() as context:
        client = RobotClient(context, endpoint, hello, clock, config.timeout)
        with contextlib.closing(client), real_time() as obtained:
            header = new_header(
                task=task.name,
                scored_by=task.scored_by,
                mode=config.mode,
                rate_hz=rate_hz,
                task_rate_hz=task.rate_hz,
                deadline_ns=deadline_ns,
                seed=config.seed,
                policy=client.ready.policy,
                fingerprint=client.ready.fingerprint,
                observation=task.observation,
                action=task.action,
                obtained=obtained,
                noise_level=config.noise,
            )
            # Room for an episode and as many skipped ticks again: the loop itself then never writes.
            with contextlib.closing(TraceWriter(config.trace, header, 2 * task.horizon)) as trace:
                guard = Guard(task.action, np.array(task.safe_action, np.float32), rate_hz)
                robot = Robot(
                    env, client, guard, trace, clock, rate_hz, deadline_ns, PreTouch(_REHEARSAL_NS, clock)
                )
                for episode in _progress(config, task, console):
                    robot.run_episode(config.mode, episode, config.seed)
    env.close()
    drops = {k: v for k, v in vars(client.drops).items() if v}
    if drops:
        console.print(f"dropped: {drops}; last error: {client.last_error}")


def require_rate(rate_hz: float | None) -> None:
    """Refuses a rate that is not a positive, finite number."""
    if rate_hz is not None and not 0 < rate_hz < float("inf"):
        raise UsageError(
            where="--rate",
            expected="a positive number of Hz",
            got=f"{rate_hz:g}",
            remedy="give one, such as 100",
        )


def _progress(config: Config, task: Task, console: Console) -> Iterator[int]:
    # Drawn by hand between episodes: rich's refresh thread would share the interpreter with the loop.
    label = f"{task.name} {config.mode}"
    yield from track(
        range(config.episodes),
        description=label,
        console=console,
        auto_refresh=False,
        disable=not console.is_terminal,
    )
