"""Replay: a policy's answers to the observations of a recorded run.

Each action of a trace is computed again from the recorded observation and its noise, which is a function of (seed,
episode, tick). The policy that drove the run gives the same actions; for any other policy the replay is a shadow
run: what it would have answered, without moving anything. In a stream an action answers an earlier tick's
observation, found by the action's age. The policy state advances through the run as it did in the server.
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.errors import ContractError, UsageError
from odeploy_runtime.inference.policy import Policy
from odeploy_runtime.inference.policy_state import PolicyState
from odeploy_runtime.signals import half_ranges, require_same_names
from odeploy_runtime.trace.format import SKIPPED, STAMPS, Trace

_SENT, _APPLIED_AT = STAMPS.index("sent"), STAMPS.index("applied")


@dataclass(frozen=True)
class Replay:
    """The compared rows of a trace and a policy's actions for the same observations.

    Attributes:
        rows: compared rows: those with an action whose observation is in the trace.
        recomputed: actions that the policy computes now. Shape (len(rows), A).
        skipped: ticks that never ran.
        unanswered: ticks without a finite action.
        orphans: ticks whose action answers an observation that is not in the trace.
    """

    rows: NDArray[np.void]
    recomputed: NDArray[np.float32]
    skipped: int
    unanswered: int
    orphans: int


def require_replayable(trace: Trace, policy: Policy, where: str) -> None:
    """Check that a policy can be compared with a run.

    Raises:
        ContractError: the policy has other signals than the trace.
        UsageError: the run applied means over several answers.
    """
    header, manifest = trace.header, policy.manifest
    require_same_names(manifest.raw_names, [s.name for s in header.observation], f"{where}, observation")
    require_same_names(manifest.action_names, [s.name for s in header.action], f"{where}, action")
    if header.blend is not None:
        raise UsageError(
            where=where,
            expected="actions of one answer each",
            got="means over several answers, from `sim --blend`",
            remedy="replay a run without --blend",
        )


def replay(trace: Trace, policy: Policy) -> Replay:
    """Run the policy on every recorded observation whose answer is in the trace."""
    rows, stream = trace.rows, trace.header.mode == "stream"
    ran = rows["kind"] != SKIPPED
    answered = ran & np.isfinite(rows["offered"]).all(axis=1)
    source = _sources(rows, ran)
    compared = answered & (source >= 0)
    # A stream applies the first action of a chunk, the other modes the one planned for the tick.
    ahead = np.zeros(len(rows), np.int64) if stream else rows["tick"] - rows["tick"][source]
    played = defaultdict[int, list[int]](list)  # rows by the row whose observation they answer
    for row in np.flatnonzero(compared):
        played[int(source[row])].append(int(row))
    state, epoch = PolicyState(policy.manifest, trace.header.seed), 0
    recomputed = np.zeros(rows["offered"].shape, np.float32)
    for row in np.flatnonzero(ran & (rows["stamps"][:, _SENT] > 0)):
        sent, answers = rows[row], played[int(row)]
        number = int(sent["episode"]), int(sent["tick"])
        if stream and not answers:  # superseded by a newer observation before the server's tick
            state.observe(*number, sent["observation"])
            continue
        epoch = int(rows["epoch"][answers[0]]) if answers else epoch  # computed by the server, but late
        actions = state.answer(policy, epoch, *number, sent["observation"])
        recomputed[answers] = actions[ahead[answers]]
    return Replay(
        rows[compared],
        recomputed[compared],
        skipped=int((~ran).sum()),
        unanswered=int((ran & ~answered).sum()),
        orphans=int((answered & ~compared).sum()),
    )


def require_same(replayed: Replay, policy: Policy, tolerance: float, where: str, provider: str = "") -> str:
    """Return a sentence with the largest difference.

    Args:
        replayed: the replay of `policy`.
        policy: the policy, for its signals and its provider.
        tolerance: largest difference allowed, on unit scale.
        where: name of the trace, for messages.
        provider: what computed the recorded actions; empty if the trace does not say.

    Raises:
        ContractError: nothing to compare, or a tick differs by more; the message names the first.
    """
    rows, signals = replayed.rows, policy.manifest.action
    if not len(rows):
        raise ContractError(
            where=where,
            expected="ticks with an observation and its answer",
            got="none",
            remedy="give a trace of a run driven by a server",
        )
    difference = np.abs(replayed.recomputed.astype(np.float64) - rows["offered"]) / half_ranges(signals)
    differs = ~(difference <= tolerance).all(axis=1)
    if not differs.any():
        if not difference.any():
            return f"the same actions, bit for bit ({policy.provider})"
        another = "" if provider in ("", policy.provider) else ", another provider"
        providers = f"{provider} in the run, {policy.provider} now" if another else policy.provider
        largest = f"largest difference {difference.max():.3g} on unit scale"
        return f"the same actions within {tolerance:g}{another}: {largest} ({providers})"
    first = int(differs.argmax())
    signal = int((~(difference[first] <= tolerance)).argmax())
    row, epochs = rows[first], np.unique(rows["epoch"])
    several = f" (of policies {', '.join(map(str, epochs))} of that server)" if len(epochs) > 1 else ""
    raise ContractError(
        where=f"{where}, episode {row['episode']}, tick {row['tick']}, signal {signals[signal].name}",
        expected=f"{row['offered'][signal]:.9g} as recorded",
        got=f"{replayed.recomputed[first, signal]:.9g}; {differs.sum()} of {len(rows)} ticks differ by more than "
        f"{tolerance:g} on unit scale, by at most {np.nanmax(difference):.3g}{several}",
        remedy="replay the file that drove the run, on the same machine, or give a larger --tolerance",
    )


def _sources(rows: NDArray[np.void], ran: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return, for each row, the row whose observation its action answers.

    The number is -1 if that row is missing. Shape (rows,).

    An action's age counts from the moment its observation was sent, exact to the nanosecond.
    """
    sent = rows["stamps"][:, _SENT]
    places = np.flatnonzero(ran)
    places = places[np.argsort(sent[places], kind="stable")]
    wanted = rows["stamps"][:, _APPLIED_AT] - rows["age_ns"]
    found = np.searchsorted(sent[places], wanted)
    source = np.full(len(rows), -1, np.int64)
    inside = found < len(places)
    source[inside] = places[found[inside]]
    source[inside & (sent[source] != wanted)] = -1
    return source
