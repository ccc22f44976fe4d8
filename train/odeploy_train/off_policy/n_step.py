"""n-step returns: transitions that span up to n ticks of an episode.

    R = Σ_{k<m} γ^k r_k,    y = R + γ^m (1 - terminated) V̄(s_m),    m ≤ n

A transition spans n ticks, or what is left of its episode: the last ones of a terminated episode have no value
after them, those of a truncated one are bootstrapped from its last observation. An episode that a broken
simulation ended is cut before the broken tick. A continued run begins new episodes, so transitions that were
pending at its checkpoint, at most n - 1 in each environment, are not stored.
"""

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = tuple[NDArray[Any], ...]


@dataclass
class _Pending:
    """A transition that may still grow: its first tick, R and m so far."""

    observation: NDArray[np.float32]
    action: NDArray[np.float32]
    total: float = 0.0
    span: int = 0


class NStep:
    """Pending transitions of parallel environments.

    Args:
        envs: number of environments E.
        steps: n.
        discount: γ.
    """

    def __init__(self, envs: int, steps: int, discount: float) -> None:
        self._steps, self._discount = steps, discount
        self._pending: list[deque[_Pending]] = [deque() for _ in range(envs)]

    def add(
        self,
        observation: NDArray[np.float32],
        action: NDArray[np.float32],
        reward: NDArray[np.float64],
        following: NDArray[np.float32],
        terminated: NDArray[np.bool_],
        ended: NDArray[np.bool_],
        sound: NDArray[np.bool_],
    ) -> Rows:
        """Add a tick of all environments, and return the transitions that are complete.

        Args:
            observation: before the tick. Shape (E, O).
            action: unit scale. Shape (E, D).
            reward: Shape (E,).
            following: after the tick; an episode's last where it ended. Shape (E, O).
            terminated: whether the task ended the episode. Shape (E,).
            ended: whether the episode ended, for any reason. Shape (E,).
            sound: false where the simulation broke. Shape (E,).

        Returns:
            Observations, actions, R, following observations, terminated and m of R transitions, by environment,
            oldest first.
        """
        if self._steps == 1:
            rows = observation, action, reward, following, terminated, np.ones(len(reward), np.float32)
            return tuple(row[sound] for row in rows)
        done: list[tuple[_Pending, NDArray[np.float32], bool]] = []
        for i, pending in enumerate(self._pending):
            if not sound[i]:
                done += [(each, observation[i], False) for each in pending]
                pending.clear()
                continue
            pending.append(_Pending(observation[i], action[i]))
            for each in pending:
                each.total += self._discount**each.span * float(reward[i])
                each.span += 1
            complete = len(pending) if ended[i] else int(len(pending) == self._steps)
            done += [(pending.popleft(), following[i], bool(terminated[i])) for _ in range(complete)]
        O, D = observation.shape[1], action.shape[1]  # noqa: E741
        return (
            np.array([each.observation for each, _, _ in done], np.float32).reshape(-1, O),
            np.array([each.action for each, _, _ in done], np.float32).reshape(-1, D),
            np.array([each.total for each, _, _ in done], np.float32),
            np.array([end for _, end, _ in done], np.float32).reshape(-1, O),
            np.array([last for _, _, last in done], np.float32),
            np.array([each.span for each, _, _ in done], np.float32),
        )
