"""`odeploy sim TASK`: one simulated robot, driven by a server, leaving a trace."""

import contextlib
from collections.abc import Iterator

import numpy as np
import tyro
from rich.console import Console
from rich.progress import track

from odeploy_runtime.policy_file.file import read
from odeploy_runtime.realtime.child_process import serving
from odeploy_runtime.realtime.clock import MonotonicClock
from odeploy_runtime.realtime.pretouch import PreTouch
from odeploy_runtime.realtime.scheduling import pinned, real_time
from odeploy_runtime.reports.latency import summary
from odeploy_runtime.reports.tables import LEGEND, one_run
from odeploy_runtime.robot.chunk_playback import Chunks
from odeploy_runtime.robot.client import Arrival, RobotClient
from odeploy_runtime.robot.connect import IN_PROCESS, connect
from odeploy_runtime.robot.counters import ROBOT, RobotCounters
from odeploy_runtime.robot.loop import ControlLoop, Pace
from odeploy_runtime.robot.plant import CommandedPlant, Plant
from odeploy_runtime.safety.guard import Guard, tightest
from odeploy_runtime.safety.operator_panel import Panel
from odeploy_runtime.safety.states import BY_HAND, Cause, Operator, Safety, State
from odeploy_runtime.signals import Signal, require_same_names
from odeploy_runtime.trace.background_writer import DrainedTrace
from odeploy_runtime.trace.format import TraceHeader, new_header
from odeploy_runtime.trace.parquet import require_pyarrow, write_parquet
from odeploy_runtime.trace.reader import read_trace
from odeploy_runtime.trace.writer import RowWriter, TraceWriter
from odeploy_runtime.transport import messages as wire
from odeploy_sim.catalogue import get
from odeploy_sim.simulated_robot.deadline import deadline_after_due_ns, measured_step
from odeploy_sim.simulated_robot.film import check_out, film
from odeploy_sim.simulated_robot.options import Config
from odeploy_sim.simulated_robot.plant import SimulatedPlant
from odeploy_sim.simulated_robot.viewer import ViewedEnv
from odeploy_sim.tasks.env import TaskEnv, episode_seed
from odeploy_sim.tasks.task import Task

_REHEARSAL_NS = 10_000  # first guess of a hot rehearsal; it is measured on the way


def main(arguments: list[str]) -> None:
    """Runs the episodes and prints their ledger."""
    config, console = tyro.cli(Config, args=arguments, prog="odeploy sim"), Console()
    task = get(config.task)
    config.require_good()
    if config.video is not None:
        check_out(config.video)
    if config.parquet:
        require_pyarrow()
    with contextlib.ExitStack() as stack:
        endpoint = config.endpoint
        if config.policy is not None and config.in_process:
            endpoint = f"{IN_PROCESS}{config.policy}"
        elif config.policy is not None:
            options = ["--provider", config.provider, *config.for_server()]
            endpoint = stack.enter_context(serving(config.policy, options))
        drive(config, task, endpoint, console)
    trace = read_trace(config.trace)
    console.print(one_run(f"{trace.header.policy} on {task.name}, {config.mode}", summary(trace)))
    console.print(LEGEND)
    if trace.lost:
        console.print(f"lost: {trace.lost} of {trace.lost + len(trace.rows)} rows", highlight=False)
    console.print(f"trace: {config.trace}", soft_wrap=True)
    if config.parquet:
        console.print(f"parquet: {write_parquet(trace, config.trace)}", soft_wrap=True)
    if config.video is not None:
        film(config.trace, config.video)
        console.print(f"video: {config.video}", soft_wrap=True)


def drive(config: Config, task: Task, endpoint: str, console: Console) -> None:
    """Runs the episodes; whatever ends them, the trace of what was run is kept."""
    if config.policy is not None:
        task = task.with_actuation(read(config.policy).manifest.actuation)
    clock = MonotonicClock(round(config.spin_us * 1e3))
    env = (ViewedEnv if config.view else TaskEnv)(task, config.noise)
    rate_hz = config.rate or task.rate_hz
    hello = wire.Hello(
        protocol=wire.PROTOCOL,
        robot=config.robot,
        task=task.name,
        rate_hz=rate_hz / max(1, config.execute),  # of observations
        seed=config.seed,
        observation=list(task.observation_names),
        action=list(task.action_names),
        mode="stream" if config.mode == "stream" else "request",
    )
    safety = Safety(rate_hz, config.rearm_after)
    guard = Guard(_limits(config, task), np.array(task.safe_action, np.float32), safety)
    with contextlib.ExitStack() as stack:
        stack.callback(env.close)
        panel = None if config.panel is None else Panel(config.panel, config.dead_man, clock)
        if panel is not None:
            stack.enter_context(contextlib.closing(panel))
            panel.wait_held(config.timeout)
        link = connect(
            endpoint,
            clock,
            config.robot_keys(),
            courier=config.courier and config.mode != "lockstep",  # there is no watchdog to be outside of
            priority=config.priority,
            provider=config.provider,
        )
        client = stack.enter_context(contextlib.closing(RobotClient(link, hello, clock, config.timeout)))
        stack.callback(_tell, client, safety, console)
        counters = _counters(config, guard, client, stack)
        chunks = Chunks[Arrival](config.chunking(client.ready.horizon, paced=config.mode != "lockstep"))
        obtained = stack.enter_context(real_time(config.priority))
        # With the priority that the loop has: among other work a step takes several times as long without.
        step = measured_step(env, clock)
        deadline_ns = 0 if config.mode == "lockstep" else deadline_after_due_ns(task, rate_hz, step)
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
            blend=config.blend,
        )
        trace = _trace(config, header, task, stack, console)
        operator = Operator if panel is None else panel.read
        pace = Pace(clock, rate_hz, deadline_ns, PreTouch(_REHEARSAL_NS, clock))
        plant: Plant = SimulatedPlant(env)
        if panel is not None and client.ready.command:
            plant = CommandedPlant(plant, panel, client.ready.command)
            console.print(f"the operator commands {', '.join(client.ready.command)}", highlight=False)
        loop = ControlLoop(plant, client, guard, trace, pace, operator, chunks, counters)
        stack.enter_context(pinned(config.core))
        for episode in _progress(config, task, console):
            loop.run_episode(config.mode, episode, episode_seed(config.seed, episode))
            link.require_alive()
            if safety.state is State.STOP and safety.cause in BY_HAND:
                console.print(f"stopped by the {safety.cause.name.lower().replace('_', ' ')} in episode {episode}")
                break


def _trace(
    config: Config, header: TraceHeader, task: Task, stack: contextlib.ExitStack, console: Console
) -> RowWriter:
    """In lockstep the simulation waits, and no row may be lost; elsewhere the loop waits for no disk."""
    if config.mode == "lockstep":
        return stack.enter_context(contextlib.closing(TraceWriter(config.trace, header, task.horizon)))
    beside = config.trace if config.flight is None else config.flight / config.trace.name
    return stack.enter_context(DrainedTrace(config.trace, header, beside, console.print))


def _counters(
    config: Config, guard: Guard, client: RobotClient, stack: contextlib.ExitStack
) -> RobotCounters | None:
    if config.http is None:
        return None
    from odeploy_runtime.realtime.http_metrics import reported

    return RobotCounters(stack.enter_context(reported(config.http, ROBOT)), guard, client)


def _limits(config: Config, task: Task) -> tuple[Signal, ...]:
    """The task's limits, and those of the policy file where this robot has one."""
    if config.policy is None:
        return task.action
    manifest = read(config.policy).manifest
    require_same_names(manifest.action_names, task.action_names, f"{config.policy} on {task.name}, action")
    return tightest(task.action, manifest.action)


def _tell(client: RobotClient, safety: Safety, console: Console) -> None:
    """What was dropped, and each way from state to state that was gone without its being an episode's start."""
    drops = {k: v for k, v in vars(client.drops).items() if v}
    if drops:
        console.print(f"dropped: {drops}; last error: {client.last_error}")
    if client.far:
        console.print(f"flagged: {client.far} observations far outside of what the policy was trained on")
    for (before, after, cause), times in safety.transitions.items():
        if cause is not Cause.REARMED:
            console.print(
                f"{before.name} → {after.name} {times} × because of {cause.name.lower()}", highlight=False
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
