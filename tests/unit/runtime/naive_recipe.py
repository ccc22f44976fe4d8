"""A recipe with plain lists: every tick of an episode is kept and looked up by its number."""

import math

from odeploy_runtime.policy_file.recipe import Recipe, Term


class NaiveRecipe:
    """Reference implementation of `Preparation`."""

    def __init__(self, recipe: Recipe, actions: int, rate_hz: float) -> None:
        self.recipe, self.actions, self.rate_hz = recipe, actions, rate_hz
        self.episode: int | None = None
        self.seen: dict[int, tuple[list[float], list[float]]] = {}  # by tick: raw signals, and the answer before
        self.answered: dict[int, list[float]] = {}

    def observe(self, episode: int, seq: int, raw: list[float]) -> list[float]:
        newest = max(self.seen, default=-1)
        if episode != self.episode or (seq == 0 and newest != 0):
            self.episode, self.seen, self.answered = episode, {}, {}
            newest = -1
        if seq > newest:
            before = self.answered[max(self.answered)] if self.answered else [0.0] * 2 * self.actions
            self.seen[seq] = raw, before
        return [number for term in self.recipe.terms for age in term.ages for number in self.scaled(term, age)]

    def keep(self, episode: int, seq: int, answer: list[float]) -> None:
        """Keep an answer: the action, then the network's own."""
        if episode == self.episode and self.seen and seq == max(self.seen):
            self.answered[seq] = answer

    def scaled(self, term: Term, age: int) -> list[float]:
        numbers = self.block(term, age)
        offsets = term.offset or [0.0] * len(numbers)
        scale = 1.0 if term.scale is None else term.scale
        return [scale * number + offset for number, offset in zip(numbers, offsets, strict=True)]

    def block(self, term: Term, age: int) -> list[float]:
        target = max(self.seen) - age
        tick = max((t for t in self.seen if t <= target), default=min(self.seen))
        raw, before = self.seen[tick]
        if term.of == "signals":
            names = [signal.name for signal in self.recipe.raw]
            return [raw[names.index(name)] for name in term.names]
        if term.of == "action":
            return before[: self.actions]
        if term.of == "raw_action":
            return before[self.actions :]
        angle = 2 * math.pi * (tick / self.rate_hz / term.period_s + (term.start or 0))
        return [getattr(math, part)(angle) for part in term.parts or ("sin", "cos")]
