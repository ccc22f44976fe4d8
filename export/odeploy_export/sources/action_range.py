"""Range of another library's actions: robot units, ±1, or unbounded.

A graph does not say it. Where it shows that two readings are possible, an option has to choose one.
"""

from dataclasses import replace

import numpy as np
import onnx

from odeploy_export.graphs.action_output import Output
from odeploy_export.kinds.external import ExternalPolicy
from odeploy_export.options import ReadingOptions
from odeploy_export.parity.rows import Array, Rows, picked
from odeploy_export.sources.adapt import ends_of
from odeploy_runtime.errors import UsageError
from odeploy_runtime.signals import Signal, half_ranges, highs, lows

_MOST_BEYOND = 0.05  # share of observations; a network that was trained to be clipped exceeds the limits rarely
_MARGIN = 0.01  # of a half range


def action_range(
    model: onnx.ModelProto,
    actions: tuple[Signal, ...],
    output: Output,
    reading: ReadingOptions,
    where: str,
    squashed_by: str | None = None,
) -> Output:
    """Return how the network's output becomes a command, with its squash and range.

    Args:
        model: graph of the policy.
        actions: the task's A action signals.
        output: what a recipe or the file's own metadata say.
        reading: options that choose a reading.
        where: for messages.
        squashed_by: name of a part that only a policy with a tanh behind its output has.

    Raises:
        UsageError: two readings, and no option that chooses; or an option that does not fit the graph.
    """
    ends = ends_of(model.graph)
    if reading.squash == "tanh":
        if ends is not None:
            raise UsageError(
                where="--squash tanh",
                expected="a graph without its last tanh or clip",
                got=f"one that ends within [{ends[0]:g}, {ends[1]:g}]",
                remedy="leave the option out",
            )
        output, ends = replace(output, squash=True), (-1.0, 1.0)
    elif reading.squash is None and ends is None and squashed_by is not None:
        raise UsageError(
            where=where,
            expected="--squash tanh or --squash clip, since its output is unbounded",
            got=f"{squashed_by}, as SAC and TQC have, whose actions are tanh of it",
            remedy="give --squash tanh for SAC or TQC, --squash clip for PPO",
        )
    unit = Output(tuple(map(float, half_ranges(actions))), tuple(map(float, _middle(actions))))
    rescales = unit.scale != (1.0,) * len(actions) or unit.offset != (0.0,) * len(actions)
    if output.scale is None and output.offset is None and rescales:
        if reading.actions is None and ends == (-1.0, 1.0):
            i = int(np.argmax((half_ranges(actions) != 1) | (_middle(actions) != 0)))
            raise UsageError(
                where=f"{where}, action {actions[i].name}",
                expected=f"--actions rescaled or --actions raw, since the task's limits are "
                f"[{actions[i].low:g}, {actions[i].high:g}]",
                got="actions within [-1, 1]",
                remedy="give --actions rescaled for a training behind RescaleAction, raw for robot units",
            )
        if reading.actions == "rescaled":
            output = replace(output, scale=unit.scale, offset=unit.offset)
    return output


def require_within(policy: ExternalPolicy, recorded: Array) -> None:
    """Require that an unbounded network rarely exceeds the limits.

    A network that lacks its last tanh exceeds them often.

    Raises:
        UsageError: it exceeds them often.
    """
    observation = picked(recorded, consecutive=False)
    zeros = np.zeros((len(observation), 1, 1, policy.noise_size), np.float32)
    answer = policy.raw(policy.references[-1], Rows(observation, zeros))
    low, high, margin = lows(policy.actions), highs(policy.actions), _MARGIN * half_ranges(policy.actions)
    inside = (low - margin <= answer) & (answer <= high + margin)
    beyond = ~np.all(inside, axis=1)
    share = float(np.any(beyond, axis=1).mean())
    if share > _MOST_BEYOND:
        worst = int(np.argmax(beyond.mean(axis=0)))
        raise UsageError(
            where=f"{policy.where}, action {policy.actions[worst].name}",
            expected="--squash tanh or --squash clip, since its output is unbounded",
            got=f"actions beyond [{low[worst]:g}, {high[worst]:g}] in {share:.0%} of recorded observations",
            remedy="give --squash tanh if a tanh of SAC or TQC is missing, --squash clip otherwise",
        )


def _middle(actions: tuple[Signal, ...]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    low, high = np.array(lows(actions), np.float64), np.array(highs(actions), np.float64)
    both = np.isfinite(low) & np.isfinite(high)
    return np.where(both, (np.where(both, low, 0) + np.where(both, high, 0)) / 2, 0.0)
