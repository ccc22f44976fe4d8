"""Inputs of a parity check: recorded rows, edge rows and golden rows."""

import numpy as np
import pytest

from odeploy_export.parity.rows import (
    EDGE_STDS,
    Rows,
    Spread,
    check_rows,
    edges_beyond,
    golden_picks,
    golden_rows,
    picked,
)
from odeploy_runtime.policy_file.manifest import Noise

SPREAD = Spread(np.array([0.0, 10.0]), np.array([1.0, 2.0]))


def test_recorded_rows_are_evenly_spaced_or_consecutive() -> None:
    recorded = np.arange(255, dtype=np.float32)[:, None]
    assert picked(recorded, consecutive=False)[:, 0].tolist() == list(range(0, 255, 2))
    assert picked(recorded, consecutive=True)[:, 0].tolist() == list(range(128))


def test_too_few_recorded_rows_are_repeated() -> None:
    recorded = np.arange(100, dtype=np.float32)[:, None]
    for consecutive in (True, False):
        assert len(picked(recorded, consecutive)) == 128
    assert picked(recorded, consecutive=True)[99:102, 0].tolist() == [99, 0, 1]


@pytest.mark.parametrize(("clip", "beyond"), [(np.inf, ()), (5.0, (-10.0, 10.0))])
def test_edge_rows_lie_on_both_sides_of_a_clip(clip: float, beyond: tuple[float, ...]) -> None:
    assert edges_beyond(clip) == (*EDGE_STDS, *beyond)


def test_an_edge_row_has_every_signal_at_the_same_multiple_of_its_spread() -> None:
    rows = check_rows(SPREAD, np.zeros((3, 2), np.float32), Noise("zero", (1, 1, 4)), edge_stds=(-1.0, 2.0))
    assert rows.observation[-2:].tolist() == [[-1, 8], [2, 14]]
    assert len(rows) == 3 + 64 + 2
    assert rows.noise.shape == (len(rows), 1, 1, 4)
    assert not rows.noise.any()


def test_golden_rows_are_evenly_spaced_or_the_first_of_an_order_and_flat() -> None:
    assert golden_picks().tolist() == [0, 18, 36, 54, 72, 90, 108, 127]
    assert golden_picks(np.arange(127, -1, -1)).tolist() == list(range(120, 128))
    rows = Rows(np.arange(6, dtype=np.float32).reshape(3, 2), np.zeros((3, 1, 1, 2), np.float32))
    (row,) = golden_rows(rows, np.array([1]), [np.array([[0.5], [1.5]])])
    assert (row.observation, row.noise, row.action) == ((2.0, 3.0), (0.0, 0.0), (0.5, 1.5))
