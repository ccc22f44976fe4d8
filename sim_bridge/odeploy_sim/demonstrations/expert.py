"""An expert for recording: its identity, and how it begins an episode."""

from collections.abc import Callable
from dataclasses import dataclass

from odeploy_sim.demonstrations.card import ExpertCard
from odeploy_sim.experts import Expert


@dataclass(frozen=True)
class Demonstrator:
    """An expert whose episodes can be recorded.

    Attributes:
        card: identity of the expert.
        begin: returns a fresh expert for an episode, by its number. Called after the environment's reset.
    """

    card: ExpertCard
    begin: Callable[[int], Expert]
