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
a policy trained on that receives it as one more raw signal. The previous raw action is what the network itself
answered, before the graph's scale, offset and limits turned it into a command.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from odeploy_runtime.signals import Signal
from odeploy_runtime.typed_json import LEFT_OUT

_OLDEST = 1000


@dataclass(frozen=True)
class Term:
    """Consecutive numbers of the policy's observation: one block per age, in order.

    Attributes:
        of: `signals` (raw ones), `action` (the whole previous one), `raw_action` (the network's own previous
            output) or `phase` (sine and cosine of a clock that starts with the episode).
        names: names of the signals, in order; empty except for `signals`.
        ages: ages [ticks]; `(2, 1, 0)` is a history of three, oldest first. The action before this tick has age 0.
        period_s: period of the clock [s]; 0 except for `phase`.
        scale: factor; None for 1. A term is `scale` · value + `offset`.
        offset: number that is added to each scaled value, one per number of a block; None for 0.
        start: share of the period at which the clock starts; None for 0.
        parts: parts of the clock, in order; None for sine and cosine.
    """

    of: Literal["signals", "action", "raw_action", "phase"]
    names: tuple[str, ...] = ()
    ages: tuple[int, ...] = (0,)
    period_s: float = 0.0
    scale: float | None = field(default=None, metadata=LEFT_OUT)
    offset: tuple[float, ...] | None = field(default=None, metadata=LEFT_OUT)
    start: float | None = field(default=None, metadata=LEFT_OUT)
    parts: tuple[Literal["sin", "cos"], ...] | None = field(default=None, metadata=LEFT_OUT)

    def __post_init__(self) -> None:
        if not self.ages or not 0 <= min(self.ages) <= max(self.ages) <= _OLDEST:
            raise ValueError(f"ages {self.ages}: wanted some, from 0 to {_OLDEST} ticks")
        if (self.of == "signals") != bool(self.names) or (self.of == "phase") != (self.period_s > 0):
            raise ValueError(f"a term of {self.of} with names {self.names} and a period of {self.period_s:g} s")
        if self.of != "phase" and (self.start, self.parts) != (None, None):
            raise ValueError(f"a term of {self.of} with start and parts, which only phase has")
        if self.scale == 0 or self.parts == ():
            raise ValueError(f"a term of {self.of} with {'scale 0' if self.scale == 0 else 'no parts'}")

    @property
    def clock(self) -> tuple[float, float]:
        """Return period [s] and start of the clock."""
        return self.period_s, self.start or 0.0

    def scaled(self, signal: Signal, place: int) -> Signal:
        """Return the signal at a place of the block after scale and offset.

        Its name says so: a reader from before scales finds other names, and rejects the file.
        """
        if self.scale is None and self.offset is None:
            return signal
        scale, offset = self.scale or 1.0, 0.0 if self.offset is None else self.offset[place]
        low, high = (None if v is None else scale * v + offset for v in (signal.low, signal.high))
        unit = signal.unit if scale == 1 or signal.unit == "1" else f"{1 / scale:g} {signal.unit}"
        return Signal(f"{signal.name}_scaled", unit, *((low, high) if scale > 0 else (high, low)))


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
        if horizon > 1 and any(term.of in ("action", "raw_action") for term in self.terms):
            raise ValueError(f"a previous action, where {horizon} are answered at once and the robot plays some")

    def observation(self, action: Sequence[Signal]) -> tuple[Signal, ...]:
        """Return the policy's O signals.

        Their names are such as `x`, `x_2_ago`, `x_scaled`, `previous_motor_x`, `previous_raw_motor_x`,
        `phase_0.5_s_sin`, `phase_0.5_s_from_0.5_sin`.

        Args:
            action: the policy's A action signals.

        Raises:
            ValueError: a term has another number of offsets than numbers.
        """
        columns, signals = self._columns(action), list[Signal]()
        for term in self.terms:
            places = self._places(term, len(action))
            if term.offset is not None and len(term.offset) != len(places):
                raise ValueError(f"{len(term.offset)} offsets for {len(places)} numbers of a term of {term.of}")
            block = [term.scaled(columns[place], i) for i, place in enumerate(places)]
            signals += [_aged(signal, age) for age in term.ages for signal in block]
        return tuple(signals)

    @property
    def clocks(self) -> tuple[tuple[float, float], ...]:
        """Return period [s] and start of each clock."""
        return tuple(dict.fromkeys(term.clock for term in self.terms if term.of == "phase"))

    @property
    def uses_raw_action(self) -> bool:
        """Return whether the graph has to give the network's own output too."""
        return any(term.of == "raw_action" for term in self.terms)

    def width(self, actions: int) -> int:
        """Return the number of stored columns of a tick, for A actions."""
        return len(self.raw) + actions * (2 if self.uses_raw_action else 1) + 2 * len(self.clocks)

    def picks(self, actions: int) -> list[tuple[int, int]]:
        """Return column and age of each number of the observation, for A actions."""
        return [
            (column, age) for term in self.terms for age in term.ages for column in self._places(term, actions)
        ]

    def scales(self, actions: int) -> list[tuple[float, float]]:
        """Return scale and offset of each number of the observation, for A actions."""
        return [
            (term.scale or 1.0, 0.0 if term.offset is None else term.offset[i])
            for term in self.terms
            for _ in term.ages
            for i in range(len(self._places(term, actions)))
        ]

    def _places(self, term: Term, actions: int) -> list[int]:
        """Return the columns of a term's block, for A actions."""
        if term.of == "signals":
            place = {signal.name: i for i, signal in enumerate(self.raw)}
            return [place[name] for name in term.names]
        R = len(self.raw)
        if term.of == "phase":
            first = self.width(actions) - 2 * len(self.clocks) + 2 * self.clocks.index(term.clock)
            return [first + ("sin", "cos").index(part) for part in term.parts or ("sin", "cos")]
        first = R if term.of == "action" else R + actions
        return list(range(first, first + actions))

    def _columns(self, action: Sequence[Signal]) -> tuple[Signal, ...]:
        """Return the stored signals of a tick.

        These are the raw signals, the previous action, the network's own, and two numbers per clock.
        """
        before = [Signal(f"previous_{s.name}", s.unit, s.low, s.high) for s in action]
        if self.uses_raw_action:
            before += [Signal(f"previous_raw_{s.name}", "1") for s in action]
        clocks = (
            Signal(f"phase_{period_s:g}_s{f'_from_{start:g}' if start else ''}_{part}", "1", -1.0, 1.0)
            for period_s, start in self.clocks
            for part in ("sin", "cos")
        )
        return (*self.raw, *before, *clocks)


def _aged(signal: Signal, age: int) -> Signal:
    name = signal.name if age == 0 else f"{signal.name}_{age}_ago"
    return Signal(name, signal.unit, signal.low, signal.high)
