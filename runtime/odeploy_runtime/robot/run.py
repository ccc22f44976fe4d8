"""A robot's run: what its loop needs is built around a plant, and ended.

`odeploy sim` is such a run with a simulated plant; hardware is driven in the same way.
"""

import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from odeploy_runtime.errors import UsageError
from odeploy_runtime.policy_file.file import PolicyFile, read
from odeploy_runtime.realtime.clock import Clock, MonotonicClock
from odeploy_runtime.realtime.pretouch import PreTouch
from odeploy_runtime.realtime.scheduling import pinned, real_time
from odeploy_runtime.robot.chunk_playback import Chunks
from odeploy_runtime.robot.client import Arrival, RobotClient
from odeploy_runtime.robot.connect import connect
from odeploy_runtime.robot.counters import ROBOT, RobotCounters
from odeploy_runtime.robot.loop import ControlLoop, Pace
from odeploy_runtime.robot.options import LoopOptions, Mode, require_rate
from odeploy_runtime.robot.plant import CommandedPlant, Plant, episode_seed
from odeploy_runtime.safety.guard import Guard, tightest
from odeploy_runtime.safety.operator_panel import Panel
from odeploy_runtime.safety.states import BY_HAND, Cause, Operator, Safety, State
from odeploy_runtime.signals import require_same_names, task_digest
from odeploy_runtime.trace.background_writer import BackgroundWriter
from odeploy_runtime.trace.format import TraceHeader, new_header
from odeploy_runtime.trace.writer import RowWriter, TraceWriter
from odeploy_runtime.transport import messages

log = logging.getLogger(__name__)

_HOT_TOUCH_NS = 10_000  # first guess of a hot pre-touch run; it is measured on the way
_DEADLINE_SHARE = 0.8  # of a period, for a plant that only hands its commands over


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """How a trace's episodes are scored.

    Attributes:
        scored_by: `success` for a plant that reports it, or `return`.
        noise_level: scale of a simulated task's noise.
    """

    scored_by: Literal["success", "return"] = "return"
    noise_level: float = 1.0


def run(
    plant: Plant,
    policy: str | Path | PolicyFile,
    *,
    mode: Mode = "realtime",
    rate_hz: float | None = None,
    episodes: int = 1,
    seed: int = 1,
    trace: str | Path = Path("runs/robot.trace"),
    options: LoopOptions = LoopOptions(),  # noqa: B008 - frozen
    file: PolicyFile | None = None,
    provider: str = "auto",
    scoring: Scoring = Scoring(),
    deadline_ns: Callable[[], int] | None = None,
    ended: Callable[[int], object] = lambda _: None,
) -> Path:
    """Drive a robot for some episodes; return the path of the trace.

    Each tick is paced, guarded and recorded. However the run ends, the trace of what was run is kept; Ctrl-C
    commands the safe action first. The plant is not closed.

    Args:
        plant: the robot.
        policy: a server's endpoint, `ipc:///path` or `tcp://host:port`, or a policy file to run in this process.
        mode: `realtime` requests an action at each tick; in a `stream` the server's clock decides when it answers;
            in `lockstep` the plant waits for each action.
        rate_hz: ticks per second; None for the plant's own.
        episodes: number of episodes.
        seed: seed of resets and of the policy's noise.
        trace: trace to write.
        options: the loop's other options: real-time priority, chunks, keys, panel, health check.
        file: the served policy file, if this robot has it: its action limits then apply here.
        provider: execution provider of a policy in this process.
        scoring: how the trace's episodes are scored.
        deadline_ns: returns the time after a tick is due by which its command must be handed over [ns]. It is
            called at the loop's priority, before the first episode. By default it is 0.8 of the period.
        ended: called with the number of each episode after its end.

    Raises:
        UsageError: an option that no run can satisfy.
        UnreachableError: no server answers in time.
        RefusedError: the server's policy was exported for another task, other signals or another rate.
        ContractError: the policy file has other actions than the plant.
    """
    rate_hz = plant.rate_hz if rate_hz is None else rate_hz
    require_rate(rate_hz)
    options.require_possible_in(mode)
    policy, file = _resolved(policy, file, mode)
    clock = MonotonicClock(round(options.spin_us * 1e3))
    paced = mode != "lockstep"
    with contextlib.ExitStack() as stack:
        guard = _guard(plant, file, Safety(rate_hz, options.rearm_after))
        panel = _panel(options, clock, stack)
        link = connect(
            policy,
            clock,
            options.robot_keys(),
            transport=options.transport,
            separate_process=options.courier and paced,  # lockstep has no watchdog to keep apart
            priority=options.priority,
            provider=provider,
            timeout_s=options.timeout,
        )
        client = RobotClient(link, _hello(plant, mode, rate_hz, seed, options), clock, options.timeout)
        stack.enter_context(contextlib.closing(client))
        stack.callback(_log_drops, client, guard.safety)
        counters = _counters(options.http, guard, client, stack)
        chunks = Chunks[Arrival](options.chunking(client.ready.horizon, paced=paced))
        obtained = stack.enter_context(real_time(options.priority))
        limit_ns = 0
        if paced:
            limit_ns = round(_DEADLINE_SHARE * 1e9 / rate_hz) if deadline_ns is None else deadline_ns()
        header = _header(plant, client.ready, mode, rate_hz, seed, scoring)
        commanded = () if panel is None else tuple(client.ready.command)
        header = replace(header, deadline_ns=limit_ns, obtained=obtained, blend=options.blend, commanded=commanded)
        header = replace(header, transport=link.transport)
        rows = _trace(Path(trace), options.flight, header, plant.horizon, stack)
        pace = Pace(clock, rate_hz, limit_ns, PreTouch(_HOT_TOUCH_NS, clock))
        operator = Operator if panel is None else panel.read
        driven = _commanded(plant, panel, commanded)
        loop = ControlLoop(driven, client, guard, rows, pace, operator, chunks, counters)
        stack.enter_context(pinned(options.core))
        for episode in range(episodes):
            loop.run_episode(mode, episode, episode_seed(seed, episode))
            link.require_alive()
            ended(episode)
            if guard.state is State.STOP and guard.safety.cause in BY_HAND:
                cause = guard.safety.cause.name.lower().replace("_", " ")
                log.info("stopped by the %s in episode %d", cause, episode)
                break
    return Path(trace)


def _resolved(
    policy: str | Path | PolicyFile, file: PolicyFile | None, mode: Mode
) -> tuple[str | PolicyFile, PolicyFile | None]:
    """Return an endpoint or a policy file, and the file whose limits apply."""
    if isinstance(policy, str) and "://" in policy:
        return policy, file
    if mode == "stream":
        raise UsageError(
            where="mode stream",
            expected="a server's endpoint, since the server's clock decides when to answer",
            got=f"the policy file {policy.path if isinstance(policy, PolicyFile) else policy}",
            remedy="use realtime or lockstep, or start a server: odeploy serve FILE",
        )
    read_file = policy if isinstance(policy, PolicyFile) else read(policy)
    return read_file, file or read_file


def _guard(plant: Plant, file: PolicyFile | None, safety: Safety) -> Guard:
    """Return a guard with the plant's limits, or tighter ones of the policy file."""
    limits = tuple(plant.action)
    if file is not None:
        names = file.manifest.action_names
        require_same_names(names, [s.name for s in limits], f"{file.path} on {plant.name}, action")
        limits = tightest(limits, file.manifest.action)
    return Guard(limits, np.array(plant.safe_action, np.float32), safety)


def _panel(options: LoopOptions, clock: Clock, stack: contextlib.ExitStack) -> Panel | None:
    """Return the operator's panel once its dead-man switch is held; None without one."""
    if options.panel is None:
        return None
    panel = stack.enter_context(contextlib.closing(Panel(options.panel, options.dead_man, clock)))
    panel.wait_held(options.timeout)
    return panel


def _hello(plant: Plant, mode: Mode, rate_hz: float, seed: int, options: LoopOptions) -> messages.Hello:
    return messages.Hello(
        protocol=messages.PROTOCOL,
        robot=options.robot,
        task=plant.name,
        rate_hz=rate_hz / max(1, options.execute),  # of observations
        seed=seed,
        observation=[signal.name for signal in plant.observation],
        action=[signal.name for signal in plant.action],
        mode="stream" if mode == "stream" else "request",
    )


def _counters(
    http: str | None, guard: Guard, client: RobotClient, stack: contextlib.ExitStack
) -> RobotCounters | None:
    if http is None:
        return None
    from odeploy_runtime.realtime.http_metrics import reported  # an HTTP server is loaded only on request

    return RobotCounters(stack.enter_context(reported(http, ROBOT)), guard, client)


def _header(
    plant: Plant, ready: messages.Ready, mode: Mode, rate_hz: float, seed: int, scoring: Scoring
) -> TraceHeader:
    return new_header(
        task=plant.name,
        scored_by=scoring.scored_by,
        mode=mode,
        rate_hz=rate_hz,
        task_rate_hz=plant.rate_hz,
        deadline_ns=0,
        seed=seed,
        policy=ready.policy,
        fingerprint=ready.fingerprint,
        observation=tuple(plant.observation),
        action=tuple(plant.action),
        obtained={},
        noise_level=scoring.noise_level,
        task_digest=task_digest(plant.observation, plant.action, plant.rate_hz, plant.horizon),
        provider=ready.provider,
    )


def _trace(
    path: Path, flight: Path | None, header: TraceHeader, horizon: int, stack: contextlib.ExitStack
) -> RowWriter:
    """Return a writer that loses no row in lockstep, where the plant waits.

    In other modes, return one that never blocks.
    """
    if header.mode == "lockstep":
        return stack.enter_context(contextlib.closing(TraceWriter(path, header, horizon)))
    beside = path if flight is None else flight / path.name
    return stack.enter_context(BackgroundWriter(path, header, beside))


def _commanded(plant: Plant, panel: Panel | None, commands: Sequence[str]) -> Plant:
    """Return the plant; with a panel, the operator sets the signals `commands`."""
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
