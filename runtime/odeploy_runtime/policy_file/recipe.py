"""The recipe: how a policy's observation is made of what its robot senses.

Many policies see more than the signals of this tick: those of ticks before, their own previous action, a clock
that goes round, what the operator wants. A robot need not know of that: it sends its raw signals, and the server
prepares them, with one `Preparation` a session. Another recipe then changes nothing on any robot.

Ticks are named by (episode, seq):

- Tick 0, another episode and a new session begin anew: the first observation stands for all before it, and the
  actions before it are zeros.
- For a tick that was skipped or lost, the one before it stands, whole.
- An observation that is asked again, as streams and rehearsals do, is prepared as before; nothing moves.
- One that is older than the newest is not taken up: the newest stands for it.

The previous action is what the server answered last, before any guard. What a guard made of it, its robot alone
knows: where a policy was trained on that, it is one more raw signal that the robot sends.
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
    """A run of numbers in the policy's observation: one block for each age, in order.

    Attributes:
        of: `signals` (raw ones), `action` (the previous one, whole) or `phase` (sine and cosine of a clock that
            starts with the episode).
        names: of `signals`, which, in order.
        ages: ticks ago; `(2, 1, 0)` is the history of three, oldest first. An action's age counts from the
            one before this tick, which is 0.
        period_s: of `phase`, after which the clock is where it was.
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
    """What a robot sends, and what its policy sees.

    Attributes:
        raw: R signals as the robot sends them, in order.
        terms: the policy's observation, in order.
        command: those of the raw signals that the operator sets, in the order in which he says them.
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
        """Raises a ValueError where it is not the recipe of a policy with these signals and H actions."""
        made = [signal.name for signal in self.observation(action)]
        if made != list(observation):
            wrong = [f"{m} for {o}" for m, o in zip(made, observation, strict=False) if m != o][:1]
            raise ValueError(f"the recipe makes {len(made)} of {len(observation)} signals, {wrong or 'in order'}")
        if horizon > 1 and any(term.of == "action" for term in self.terms):
            raise ValueError(f"a previous action, where {horizon} are answered at once and the robot plays some")

    def observation(self, action: Sequence[Signal]) -> tuple[Signal, ...]:
        """The policy's signals: `x`, `x_2_ago`, `previous_motor_x`, `phase_0.5_s_sin`. Shape (O,).

        Args:
            action: the policy's, A signals.
        """
        columns = self._columns(action)
        return tuple(_aged(columns[place], age) for place, age in self.picks(len(action)))

    def _columns(self, action: Sequence[Signal]) -> tuple[Signal, ...]:
        """All that is remembered of a tick: raw signals, the action before it, two numbers of each clock."""
        before = (Signal(f"previous_{s.name}", s.unit, s.low, s.high) for s in action)
        clocks = (
            Signal(f"phase_{period_s:g}_s_{part}", "1", -1.0, 1.0)
            for period_s in self.periods_s
            for part in ("sin", "cos")
        )
        return (*self.raw, *before, *clocks)

    @property
    def periods_s(self) -> tuple[float, ...]:
        """Of the clocks."""
        return tuple(dict.fromkeys(term.period_s for term in self.terms if term.of == "phase"))

    def picks(self, actions: int) -> list[tuple[int, int]]:
        """Column and age of each number of the policy's observation, in order, for A actions."""
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
    """What a session remembers for a recipe; nothing is allocated after the start."""

    def __init__(self, recipe: Recipe, actions: int, rate_hz: float) -> None:
        """Remembers nothing yet.

        Args:
            recipe: of the policy.
            actions: A.
            rate_hz: of the policy's ticks, by which its clocks go.
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
        """The policy's observation at a tick. Shape (O,); valid until the next call, not to be written to.

        Args:
            episode, seq: of the tick.
            raw: what the robot sensed. Shape (R,).
        """
        newest_episode, newest_seq = self._number
        anew = episode != newest_episode or seq == 0
        if (episode, seq) == self._number or (not anew and seq < newest_seq):
            return self._observation
        if anew:
            self._action.fill(0)
        else:
            for _ in range(min(seq - newest_seq, len(self._ticks))):
                self._older[:] = self._newer  # the newest stays as well, for a tick that was lost
        self._raw[:] = raw
        self._before[:] = self._action
        for i, turns in enumerate(self._turns_a_tick):
            angle = 2 * math.pi * (seq * turns % 1.0)
            self._clocks[2 * i], self._clocks[2 * i + 1] = math.sin(angle), math.cos(angle)
        if anew:
            self._ticks[:] = self._ticks[-1]
        self._number = episode, seq
        np.take(self._flat, self._picks, out=self._observation, mode="clip")  # other modes copy
        return self._observation

    def keep(self, episode: int, seq: int, actions: NDArray[np.float32]) -> None:
        """Told of the answer to the newest tick, whose first action is the one before the next. Shape (H * A,)."""
        if (episode, seq) == self._number:
            self._action[:] = actions[: len(self._action)]
