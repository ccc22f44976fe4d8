"""The out-of-distribution check: signals far outside their recorded ranges are named."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from odeploy_runtime.server.observation_range import ObservationRange
from tests.unit.runtime.fakes import Floats, manifest

RANGES = (-2.0, 2.0), (0.0, 1.0), (5.0, 5.0)
RANGED = manifest(observed=RANGES)


def seen(*numbers: float) -> Floats:
    return np.array(numbers, np.float32)


def test_a_signal_may_be_one_width_beyond_its_range() -> None:
    ranges = ObservationRange(RANGED)
    assert ranges.contains(seen(-5.9, 1.9, 5))
    assert ranges.contains(seen(5.9, -0.9, 5))
    assert not ranges.contains(seen(0, 2.1, 5))
    assert ranges.out_of_range == "y"


def test_a_constant_signal_may_change_only_slightly() -> None:
    ranges = ObservationRange(RANGED)
    assert ranges.contains(seen(0, 0, 5.001))
    assert not ranges.contains(seen(0, 0, 5.1))
    assert ranges.out_of_range == "speed"


def test_the_number_of_widths_is_an_option() -> None:
    assert not ObservationRange(RANGED, widths=0.0).contains(seen(2.1, 0.5, 5))
    assert ObservationRange(RANGED, widths=3.0).contains(seen(13.9, 0.5, 5))


def test_without_ranges_every_observation_passes() -> None:
    assert ObservationRange(manifest()).contains(seen(-3e38, 3e38, 0))


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=3, max_size=3), st.floats(0, 4))
def test_the_check_compares_the_distance_beyond_the_range_in_widths(numbers: list[float], widths: float) -> None:
    beyond = [
        max(low - number, number - high) / max(high - low, 1e-3 * max(1, abs(low)))
        for number, (low, high) in zip(numbers, RANGES, strict=True)
    ]
    if all(abs(distance - widths) > 1e-3 for distance in beyond):  # not on the boundary, where float32 rounds
        assert ObservationRange(RANGED, widths).contains(seen(*numbers)) == (max(beyond) < widths)
