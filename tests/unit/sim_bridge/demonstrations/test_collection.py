"""A collected dataset: the episodes are saved with a card that describes them."""

import dataclasses
from pathlib import Path

import pytest
from rich.console import Console

from odeploy_runtime.errors import UsageError
from odeploy_sim.catalogue import get
from odeploy_sim.demonstrations.card import read_card
from odeploy_sim.demonstrations.collection import CollectOptions, collect
from odeploy_sim.demonstrations.dataset import load
from odeploy_sim.demonstrations.quality import Quality
from odeploy_sim.demonstrations.recorder import Size

TASK = dataclasses.replace(get("multigoal-2d"), horizon=4)
QUIET = Console(quiet=True)


def test_the_returned_card_is_the_saved_one_and_describes_the_data(tmp_path: Path) -> None:
    out, quality = tmp_path / "set-v0", Quality(action_std=0.5)
    options = CollectOptions(size=Size(3), quality=quality, noise_level=2.0, seed=5)
    card = collect(TASK, options, out, QUIET)
    assert read_card(out) == card
    assert (card.task, card.quality, card.goals, card.noise_level, card.seed) == (
        "multigoal-2d",
        "noisy:0.5",
        "all",
        2.0,
        5,
    )
    assert (card.episodes, card.transitions) == (3, 12)
    assert card.data_hash == load(str(out), TASK).data_hash


def test_a_set_that_cannot_be_saved_or_has_no_successes_is_not_begun(tmp_path: Path) -> None:
    options = CollectOptions(size=Size(1), successes_only=True)
    with pytest.raises(UsageError, match="--successes-only: expected a task that is solved or not, got hopper"):
        collect(get("hopper"), options, tmp_path / "set-v0", QUIET)
    with pytest.raises(UsageError, match="ends in a version"):
        collect(TASK, options, tmp_path / "set", QUIET)
    assert list(tmp_path.iterdir()) == []
