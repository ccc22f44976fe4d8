"""Options of `odeploy doctor`."""

import pytest

from odeploy_runtime.errors import UsageError
from odeploy_sim.catalogue import get
from odeploy_sim.cli import doctor
from odeploy_sim.experts.trained import trained


def test_less_than_one_episode_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one"):
        doctor.main([str(trained(get("hopper"))), "--task", "hopper", "--episodes", "0"])
