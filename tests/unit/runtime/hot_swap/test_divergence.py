"""The divergence of a shadow in shared memory."""

import numpy as np
import pytest

from odeploy_runtime.hot_swap.divergence import read_divergence, shadow_names, write_divergence
from odeploy_runtime.realtime.counters import Counters


def test_a_written_divergence_is_read_back() -> None:
    counters = Counters(shadow_names(2))
    write_divergence(counters, 3, np.array([0.25, 1e-9]), np.array([0.5, np.inf]))
    compared, mean, largest = read_divergence(counters, 2)
    assert compared == 3
    assert mean == pytest.approx([0.25, 1e-9])
    assert largest[0] == 0.5
    assert largest[1] > 4e9
