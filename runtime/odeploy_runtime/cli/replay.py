"""`odeploy replay TRACE --policy FILE`: asks a policy file again what a recorded run asked.

Each action of a trace is computed a second time, from the recorded observation and from its noise, which is a
function of (seed, episode, tick). The file that drove the run gives the same actions; another one is a shadow:
what it would have said, without moving anything. In a stream an action answers an earlier tick's observation,
which is found by the action's age. What a policy remembers goes through the run as it did in the server.
"""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from numpy.typing import NDArray
from rich.console import Console

from odeploy_runtime.errors import ContractError, UsageError
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.inference.policy import Policy
from odeploy_runtime.inference.policy_state import PolicyState
from odeploy_runtime.signals import half_ranges, require_same_names
from odeploy_runtime.trace.format import SKIPPED, STAMPS, Trace
from odeploy_runtime.trace.reader import read_trace

_SENT, _APPLIED_AT = STAMPS.index("sent"), STAMPS.index("applied")


@dataclass(frozen=True)
class Config:
    """Asks a policy file again what a recorded run asked, and compares the answers."""

    trace: Annotated[Path, tyro.conf.Positional]
    """A trace, also as Parquet or from the flight recorder."""
    policy: Path
    """The file that drove it, or another one."""
    tolerance: float | None = None
    """Difference that counts as none, on unit scale; what the file was exported with if not given."""
    provider: str = "cpu"
    """Execution provider."""


@dataclass(frozen=True)
class Replay:
    """A trace beside what a policy says to the same observations.

    Attributes:
        rows: of the trace that were compared: those with an answer whose observation is in the trace.
        said: what the policy says now. Shape (len(rows), A).
        skipped: ticks that never ran.
        unanswered: ticks to which no action came that is finite.
        orphans: ticks whose action answers an observation that is not in the trace.
    """

    rows: NDArray[np.void]
    said: NDArray[np.float32]
    skipped: int
    unanswered: int
    orphans: int


def main(arguments: list[str]) -> None:
    """Says what was compared; the first tick that differs ends the program as an error."""
    config, console = tyro.cli(Config, args=arguments, prog="odeploy replay"), Console()
    if config.tolerance is not None and not config.tolerance >= 0:
        raise UsageError(
            where="--tolerance", expected="0 or more", got=f"{config.tolerance:g}", remedy="give for example 1e-5"
        )
    trace, policy = read_trace(config.trace), OnnxPolicy.load(config.policy, config.provider)
    for what, ours, theirs in (
        ("observation", policy.manifest.raw_names, trace.header.observation),
        ("action", policy.manifest.action_names, trace.header.action),
    ):
        require_same_names(ours, [s.name for s in theirs], f"{config.trace}, {what}")
    if trace.header.blend is not None:
        raise UsageError(
            where=f"{config.trace}",
            expected="actions that are one answer's each",
            got="means over several answers, of `sim --blend`",
            remedy="replay a run without it",
        )
    own = policy.fingerprint == trace.header.fingerprint
    other = f"another file than {trace.header.policy}, which drove this run: a shadow"
    console.print("the file that drove this run" if own else other, highlight=False, soft_wrap=True)
    replayed = replay(trace, policy)
    console.print(
        f"compared: {len(replayed.rows)} of {len(trace.rows)} ticks; {replayed.skipped} skipped, "
        f"{replayed.unanswered} without an answer, {replayed.orphans} whose observation is not in the trace",
        highlight=False,
        soft_wrap=True,
    )
    gates = [parity.tolerance for parity in policy.manifest.parity]
    tolerance = max(gates, default=0.0) if config.tolerance is None else config.tolerance
    console.print(require_same(replayed, policy, tolerance, f"{config.trace}"), highlight=False, soft_wrap=True)


def replay(trace: Trace, policy: Policy) -> Replay:
    """Asks the policy every question of the trace that is there together with its answer."""
    rows, stream = trace.rows, trace.header.mode == "stream"
    ran = rows["kind"] != SKIPPED
    answered = ran & np.isfinite(rows["offered"]).all(axis=1)
    asked = _asked(rows, ran)
    compared = answered & (asked >= 0)
    # A stream applies the first action of a chunk, the other modes the one that is meant for the tick.
    ahead = np.zeros(len(rows), np.int64) if stream else rows["tick"] - rows["tick"][asked]
    played = defaultdict[int, list[int]](list)  # rows by their question
    for row in np.flatnonzero(compared):
        played[int(asked[row])].append(int(row))
    state, epoch = PolicyState(policy.manifest, trace.header.seed), 0
    said = np.zeros(rows["offered"].shape, np.float32)
    for question in np.flatnonzero(ran & (rows["stamps"][:, _SENT] > 0)):
        sent, answers = rows[question], played[int(question)]
        number = int(sent["episode"]), int(sent["tick"])
        if stream and not answers:  # a newer one was there when the server's tick came
            state.observe(*number, sent["observation"])
            continue
        epoch = int(rows["epoch"][answers[0]]) if answers else epoch  # its answer came too late, and was there
        actions = state.answer(policy, epoch, *number, sent["observation"])
        said[answers] = actions[ahead[answers]]
    return Replay(
        rows[compared],
        said[compared],
        skipped=int((~ran).sum()),
        unanswered=int((ran & ~answered).sum()),
        orphans=int((answered & ~compared).sum()),
    )


def require_same(replayed: Replay, policy: Policy, tolerance: float, where: str) -> str:
    """The largest difference, in words.

    Raises:
        ContractError: nothing could be compared, or a tick differs by more; the message names the first.
    """
    rows, signals = replayed.rows, policy.manifest.action
    if not len(rows):
        raise ContractError(
            where=where,
            expected="ticks with an observation and its answer",
            got="none",
            remedy="give a trace of a run that a server drove",
        )
    difference = np.abs(replayed.said.astype(np.float64) - rows["offered"]) / half_ranges(signals)
    differs = ~(difference <= tolerance).all(axis=1)
    if not differs.any():
        return f"the same actions: largest difference {difference.max():.3g} on unit scale"
    first = int(differs.argmax())
    signal = int((~(difference[first] <= tolerance)).argmax())
    row, epochs = rows[first], np.unique(rows["epoch"])
    several = f" (of policies number {', '.join(map(str, epochs))} of that server)" if len(epochs) > 1 else ""
    raise ContractError(
        where=f"{where}, episode {row['episode']}, tick {row['tick']}, signal {signals[signal].name}",
        expected=f"{row['offered'][signal]:.9g} as recorded",
        got=f"{replayed.said[first, signal]:.9g}; {differs.sum()} of {len(rows)} ticks differ by more than "
        f"{tolerance:g} on unit scale, at most by {np.nanmax(difference):.3g}{several}",
        remedy="replay the file that drove the run on the machine that did, or allow for it with --tolerance",
    )


def _asked(rows: NDArray[np.void], ran: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Of each row the row whose observation its action answers; -1 where that is not there. Shape (rows,).

    An action's age counts to when its observation was sent, to the nanosecond.
    """
    sent = rows["stamps"][:, _SENT]
    places = np.flatnonzero(ran)
    places = places[np.argsort(sent[places], kind="stable")]
    wanted = rows["stamps"][:, _APPLIED_AT] - rows["age_ns"]
    found = np.searchsorted(sent[places], wanted)
    asked = np.full(len(rows), -1, np.int64)
    inside = found < len(places)
    asked[inside] = places[found[inside]]
    asked[inside & (sent[asked] != wanted)] = -1
    return asked
