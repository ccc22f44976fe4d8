"""The recipe: how a policy's observation is built from the robot's raw signals.

Many policies see more than the signals of this tick: earlier ticks, their own previous action, a periodic clock,
the operator's command. The robot need not know: it sends its raw signals, and the server prepares them, with one
`Preparation` per session. Another recipe then changes nothing on any robot.

Ticks are identified by (episode, seq):

- Tick 0, another episode or a new session starts afresh: the first observation fills the history, and the actions
  before it are zeros.
- A skipped or lost tick is filled with the one before it.
- A repeated observation, as in streams and pre-touch runs, is prepared as before; nothing advances.
- An observation older than the newest is ignored: the newest is used instead.

The previous action is the server's last answer, before any guard. Only the robot knows what its guard made of it;
a policy trained on that receives it as one more raw signal.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.signals import Signal

_OLDEST = 1000


@dataclass(frozen=True)
class Term:
    """Consecutive numbers of the policy's observation: one block per age, in order.

    Attributes:
        of: `signals` (raw ones), `action` (the whole previous one) or `phase` (sine and cosine of a clock that
            starts with the episode).
        names: names of the signals, in order; empty for `action` and `phase`.
        ages: ages [ticks]; `(2, 1, 0)` is a history of three, oldest first. The action before this tick has age 0.
        period_s: period of the clock [s]; 0 for `signals` and `action`.
    """

    of: Literal["signals", "action", "phase"]
    names: tuple[str, ...] = ()
    ages: tuple[int, ...] = (0,)
    period_s: float = 0.0

    def __post_init__(self) -> None:
        if not self.ages or not 0 <= min(self.ages) <= max(self.ages) <= _OLDEST:
            raise ValueError(f"ages {self.ages}: wanted some, from 0 to {_OLDEST} ticks")
        if (self.of == "signals") != bool(self.names) or (self.of == "phase") != (self.period_s > 0):
            raise ValueError(f"a term of {self.of} with names {self.names} and a period of {self.period_s:g} s")


@dataclass(frozen=True)
class Recipe:
    """Mapping from the robot's raw signals to the policy's observation.

    Attributes:
        raw: R signals that the robot sends, in order.
        terms: terms of the policy's observation, in order.
        command: raw signals that the operator sets, in the operator's order.
    """

    raw: tuple[Signal, ...]
    terms: tuple[Term, ...]
    command: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [signal.name for signal in self.raw]
        wanted = [*self.command, *(name for term in self.terms for name in term.names)]
        unknown = sorted(set(wanted) - set(names))
        if unknown:
            raise ValueError(f"no raw signal has the name {', '.join(unknown)}")
        if len(set(names)) < len(names) or not self.terms:
            raise ValueError("a recipe needs raw signals of different names, and terms")

    def fit(self, observation: Sequence[str], action: Sequence[Signal], horizon: int) -> None:
        """Raise a ValueError if it does not fit a policy with these signals and H actions."""
        made = [signal.name for signal in self.observation(action)]
        if made != list(observation):
            wrong = [f"{m} for {o}" for m, o in zip(made, observation, strict=False) if m != o][:1]
            raise ValueError(f"the recipe makes {len(made)} of {len(observation)} signals, {wrong or 'in order'}")
        if horizon > 1 and any(term.of == "action" for term in self.terms):
            raise ValueError(f"a previous action, where {horizon} are answered at once and the robot plays some")

    def observation(self, action: Sequence[Signal]) -> tuple[Signal, ...]:
        """Return the policy's O signals.

        Their names are such as `x`, `x_2_ago`, `previous_motor_x`, `phase_0.5_s_sin`.

        Args:
            action: the policy's A action signals.
        """
        columns = self._columns(action)
        return tuple(_aged(columns[place], age) for place, age in self.picks(len(action)))

    def _columns(self, action: Sequence[Signal]) -> tuple[Signal, ...]:
        """Return the stored signals of a tick.

        These are the raw signals, the previous action, and two numbers per clock.
        """
        before = (Signal(f"previous_{s.name}", s.unit, s.low, s.high) for s in action)
        clocks = (
            Signal(f"phase_{period_s:g}_s_{part}", "1", -1.0, 1.0)
            for period_s in self.periods_s
            for part in ("sin", "cos")
        )
        return (*self.raw, *before, *clocks)

    @property
    def periods_s(self) -> tuple[float, ...]:
        """Return the periods of the clocks [s]."""
        return tuple(dict.fromkeys(term.period_s for term in self.terms if term.of == "phase"))

    def picks(self, actions: int) -> list[tuple[int, int]]:
        """Return column and age of each number of the observation, for A actions."""
        place = {signal.name: i for i, signal in enumerate(self.raw)}
        clocks = len(self.raw) + actions
        picks = []
        for term in self.terms:
            if term.of == "signals":
                columns = [place[name] for name in term.names]
            elif term.of == "action":
                columns = list(range(len(self.raw), clocks))
            else:
                first = clocks + 2 * self.periods_s.index(term.period_s)
                columns = [first, first + 1]
            picks += [(column, age) for age in term.ages for column in columns]
        return picks


def _aged(signal: Signal, age: int) -> Signal:
    name = signal.name if age == 0 else f"{signal.name}_{age}_ago"
    return Signal(name, signal.unit, signal.low, signal.high)


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
        width = R + actions + 2 * len(recipe.periods_s)
        self._ticks = np.zeros((oldest + 1, width), np.float32)  # the newest last
        self._older, self._newer = self._ticks[:-1], self._ticks[1:]
        newest = self._ticks[-1]
        self._raw, self._before, self._clocks = newest[:R], newest[R : R + actions], newest[R + actions :]
        self._flat = self._ticks.reshape(-1)
        self._picks = np.array([(oldest - age) * width + column for column, age in picks])
        self._observation = np.zeros(len(picks), np.float32)
        self._action = np.zeros(actions, np.float32)
        self._turns_a_tick = [1 / (rate_hz * period_s) for period_s in recipe.periods_s]
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
            self._action.fill(0)
        else:
            for _ in range(min(seq - newest_seq, len(self._ticks))):
                self._older[:] = self._newer  # the newest stays too, for a lost tick
        self._raw[:] = raw
        self._before[:] = self._action
        for i, turns in enumerate(self._turns_a_tick):
            angle = 2 * math.pi * (seq * turns % 1.0)
            self._clocks[2 * i], self._clocks[2 * i + 1] = math.sin(angle), math.cos(angle)
        if restart:
            self._ticks[:] = self._ticks[-1]
        self._number = episode, seq
        np.take(self._flat, self._picks, out=self._observation, mode="clip")  # other modes copy
        return self._observation

    def commit(self, episode: int, seq: int, actions: NDArray[np.float32]) -> None:
        """Record the newest tick's answer.

        Its first A numbers are the next tick's previous action.
        """
        if (episode, seq) == self._number:
            self._action[:] = actions[: len(self._action)]
