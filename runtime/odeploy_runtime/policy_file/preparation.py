"""The preparation of a session's observations by a recipe, tick by tick."""

import math

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.policy_file.recipe import Recipe


class Preparation:
    """Observation history of a session; nothing is allocated after the start."""

    def __init__(self, recipe: Recipe, actions: int, rate_hz: float) -> None:
        """Start with an empty history.

        Args:
            recipe: recipe of the policy.
            actions: A, number of action signals.
            rate_hz: rate of the policy's ticks, which drives its clocks.
        """
        self.recipe = recipe
        picks = recipe.picks(actions)
        oldest, R = max(age for _, age in picks), len(recipe.raw)
        width, clocks = recipe.width(actions), 2 * len(recipe.clocks)
        self._ticks = np.zeros((oldest + 1, width), np.float32)  # the newest last
        self._older, self._newer = self._ticks[:-1], self._ticks[1:]
        newest = self._ticks[-1]
        self._raw, self._before, self._clocks = newest[:R], newest[R : width - clocks], newest[width - clocks :]
        self._flat = self._ticks.reshape(-1)
        self._picks = np.array([(oldest - age) * width + column for column, age in picks])
        self._observation = np.zeros(len(picks), np.float32)
        self._scale, self._offset = np.array(recipe.scales(actions), np.float32).T.copy()
        self._as_it_is = bool((self._scale == 1).all() and (self._offset == 0).all())
        self._previous = np.zeros_like(self._before)  # answers of the newest tick: the action, the network's own
        self._action, self._raw_action = self._previous[:actions], self._previous[actions:]
        self._turns = [(1 / (rate_hz * period_s), start) for period_s, start in recipe.clocks]
        self._number = (-1, -1)  # of the newest tick

    def observe(self, episode: int, seq: int, raw: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the policy's observation at a tick.

        Shape (O,); valid until the next call, read-only.

        Args:
            episode, seq: identify the tick.
            raw: the robot's signals. Shape (R,).
        """
        newest_episode, newest_seq = self._number
        restart = episode != newest_episode or seq == 0
        if (episode, seq) == self._number or (not restart and seq < newest_seq):
            return self._observation
        if restart:
            self._previous.fill(0)
        else:
            for _ in range(min(seq - newest_seq, len(self._ticks))):
                self._older[:] = self._newer  # the newest stays too, for a lost tick
        self._raw[:] = raw
        self._before[:] = self._previous
        for i, (turns, start) in enumerate(self._turns):
            angle = 2 * math.pi * ((seq * turns + start) % 1.0)
            self._clocks[2 * i], self._clocks[2 * i + 1] = math.sin(angle), math.cos(angle)
        if restart:
            self._ticks[:] = self._ticks[-1]
        self._number = episode, seq
        np.take(self._flat, self._picks, out=self._observation, mode="clip")  # other modes copy
        if not self._as_it_is:
            np.multiply(self._observation, self._scale, out=self._observation)
            np.add(self._observation, self._offset, out=self._observation)
        return self._observation

    def commit(
        self, episode: int, seq: int, actions: NDArray[np.float32], raw_action: NDArray[np.float32] | None = None
    ) -> None:
        """Record the newest tick's answer.

        Its first A numbers are the next tick's previous action.

        Args:
            episode, seq: identify the tick.
            actions: what was answered.
            raw_action: what the network itself answered, (A,), for a recipe that uses it.
        """
        if (episode, seq) == self._number:
            self._action[:] = actions[: len(self._action)]
            if raw_action is not None:
                self._raw_action[:] = raw_action
