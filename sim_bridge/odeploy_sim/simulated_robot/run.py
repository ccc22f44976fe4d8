"""A run of the simulated robot: builds what its loop needs, and ends it."""

import contextlib
import logging
from collections.abc import Callable

import numpy as np

from odeploy_runtime.policy_file.file import PolicyFile
from odeploy_runtime.realtime.clock import Clock, MonotonicClock
from odeploy_runtime.realtime.pretouch import PreTouch
from odeploy_runtime.realtime.scheduling import pinned, real_time
from odeploy_runtime.robot.chunk_playback import Chunks
from odeploy_runtime.robot.client import Arrival, RobotClient
from odeploy_runtime.robot.connect import connect
from odeploy_runtime.robot.counters import ROBOT, RobotCounters
from odeploy_runtime.robot.loop import ControlLoop, Pace
from odeploy_runtime.robot.plant import CommandedPlant, Plant
from odeploy_runtime.safety.guard import Guard, tightest
from odeploy_runtime.safety.operator_panel import Panel
from odeploy_runtime.safety.states import BY_HAND, Cause, Operator, Safety, State
from odeploy_runtime.signals import require_same_names
from odeploy_runtime.trace.background_writer import BackgroundWriter
from odeploy_runtime.trace.format import TraceHeader, new_header
from odeploy_runtime.trace.writer import RowWriter, TraceWriter
from odeploy_runtime.transport import messages
from odeploy_sim.simulated_robot.deadline import deadline_after_due_ns, measured_step
from odeploy_sim.simulated_robot.options import RunOptions
from odeploy_sim.simulated_robot.plant import SimulatedPlant
from odeploy_sim.simulated_robot.viewer import ViewedEnv
from odeploy_sim.tasks.env import TaskEnv, episode_seed
from odeploy_sim.tasks.task import Task

log = logging.getLogger(__name__)

_HOT_TOUCH_NS = 10_000  # first guess of a hot pre-touch run; it is measured on the way


def drive(
    task: Task,
    policy: str | PolicyFile,
    options: RunOptions,
    file: PolicyFile | None = None,
    *,
    provider: str = "cpu",
    ended: Callable[[int], object] = lambda _: None,
) -> None:
    """Run the episodes. However the run ends, the trace of what was run is kept.

    Args:
        task: task to simulate.
        policy: a server's endpoint, or a policy file to run in this process.
        options: options of the run.
        file: the served policy file, if this robot has it: its actuation and action limits then apply here.
        provider: execution provider of a policy in this process.
        ended: called with the number of each episode after its end.
    """
    if file is not None:
        task = task.with_actuation(file.manifest.actuation)
    clock = MonotonicClock(round(options.spin_us * 1e3))
    env = (ViewedEnv if options.view else TaskEnv)(task, options.noise)
    rate_hz = options.rate or task.rate_hz
    paced = options.mode != "lockstep"
    with contextlib.ExitStack() as stack:
        stack.callback(env.close)
        guard = _guard(task, file, Safety(rate_hz, options.rearm_after))
        panel = _panel(options, clock, stack)
        link = connect(
            policy,
            clock,
            options.robot_keys(),
            separate_process=options.courier and paced,  # lockstep has no watchdog to keep apart
            priority=options.priority,
            provider=provider,
        )
        client = RobotClient(link, _hello(task, rate_hz, options), clock, options.timeout)
        stack.enter_context(contextlib.closing(client))
        stack.callback(_log_drops, client, guard.safety)
        counters = _counters(options.http, guard, client, stack)
        chunks = Chunks[Arrival](options.chunking(client.ready.horizon, paced=paced))
        obtained = stack.enter_context(real_time(options.priority))
        step = measured_step(env, clock)  # at the priority of the loop
        deadline_ns = deadline_after_due_ns(task, rate_hz, step) if paced else 0
        header = _header(task, rate_hz, deadline_ns, client.ready, obtained, options)
        trace = _trace(options, header, task, stack)
        pace = Pace(clock, rate_hz, deadline_ns, PreTouch(_HOT_TOUCH_NS, clock))
        operator = Operator if panel is None else panel.read
        plant = _plant(env, panel, client.ready.command)
        loop = ControlLoop(plant, client, guard, trace, pace, operator, chunks, counters)
        stack.enter_context(pinned(options.core))
        for episode in range(options.episodes):
            loop.run_episode(options.mode, episode, episode_seed(options.seed, episode))
            link.require_alive()
            ended(episode)
            if guard.state is State.STOP and guard.safety.cause in BY_HAND:
                cause = guard.safety.cause.name.lower().replace("_", " ")
                log.info("stopped by the %s in episode %d", cause, episode)
                break


def _guard(task: Task, file: PolicyFile | None, safety: Safety) -> Guard:
    """Return a guard with the task's limits, or tighter ones of the policy file."""
    limits = task.action
    if file is not None:
        names = file.manifest.action_names
        require_same_names(names, task.action_names, f"{file.path} on {task.name}, action")
        limits = tightest(task.action, file.manifest.action)
    return Guard(limits, np.array(task.safe_action, np.float32), safety)


def _panel(options: RunOptions, clock: Clock, stack: contextlib.ExitStack) -> Panel | None:
    """Return the operator's panel once its dead-man switch is held; None without one."""
    if options.panel is None:
        return None
    panel = stack.enter_context(contextlib.closing(Panel(options.panel, options.dead_man, clock)))
    panel.wait_held(options.timeout)
    return panel


def _hello(task: Task, rate_hz: float, options: RunOptions) -> messages.Hello:
    return messages.Hello(
        protocol=messages.PROTOCOL,
        robot=options.robot,
        task=task.name,
        rate_hz=rate_hz / max(1, options.execute),  # of observations
        seed=options.seed,
        observation=list(task.observation_names),
        action=list(task.action_names),
        mode="stream" if options.mode == "stream" else "request",
    )


def _counters(
    http: str | None, guard: Guard, client: RobotClient, stack: contextlib.ExitStack
) -> RobotCounters | None:
    if http is None:
        return None
    from odeploy_runtime.realtime.http_metrics import reported  # an HTTP server is loaded only on request

    return RobotCounters(stack.enter_context(reported(http, ROBOT)), guard, client)


def _header(
    task: Task,
    rate_hz: float,
    deadline_ns: int,
    ready: messages.Ready,
    obtained: dict[str, str],
    options: RunOptions,
) -> TraceHeader:
    return new_header(
        task=task.name,
        scored_by=task.scored_by,
        mode=options.mode,
        rate_hz=rate_hz,
        task_rate_hz=task.rate_hz,
        deadline_ns=deadline_ns,
        seed=options.seed,
        policy=ready.policy,
        fingerprint=ready.fingerprint,
        observation=task.observation,
        action=task.action,
        obtained=obtained,
        noise_level=options.noise,
        blend=options.blend,
        task_digest=task.digest,
    )


def _trace(options: RunOptions, header: TraceHeader, task: Task, stack: contextlib.ExitStack) -> RowWriter:
    """Return a writer that loses no row in lockstep, where the simulation waits.

    In other modes, return one that never blocks.
    """
    if options.mode == "lockstep":
        return stack.enter_context(contextlib.closing(TraceWriter(options.trace, header, task.horizon)))
    beside = options.trace if options.flight is None else options.flight / options.trace.name
    return stack.enter_context(BackgroundWriter(options.trace, header, beside))


def _plant(env: TaskEnv, panel: Panel | None, commands: list[str]) -> Plant:
    """Return the simulation as a plant.

    With a panel, the operator sets the signals `commands`.
    """
    plant = SimulatedPlant(env)
    if panel is None or not commands:
        return plant
    log.info("the operator commands %s", ", ".join(commands))
    return CommandedPlant(plant, panel, commands)


def _log_drops(client: RobotClient, safety: Safety) -> None:
    """Log what was dropped, and the transitions between safety states.

    Those at an episode's start are left out.
    """
    drops = {k: v for k, v in vars(client.drops).items() if v}
    if drops:
        log.info("dropped: %s; last error: %s", drops, client.last_error)
    if not client.one_clock:
        log.warning("robot and server have different clocks: the stages of the wire are left out")
    if client.out_of_range:
        log.warning("%d observations far outside the range that the policy was trained on", client.out_of_range)
    for (before, after, cause), times in safety.transitions.items():
        if cause is not Cause.REARMED:
            log.info("%s → %s %d × because of %s", before.name, after.name, times, cause.name.lower())
