"""A figure that is not finite stops the training with its name."""

import math

import pytest

from odeploy_runtime.errors import UsageError
from odeploy_train.runs.divergence import require_finite_figures


def test_a_diverged_update_is_refused_with_its_learning_rate_and_its_first_invalid_figure() -> None:
    require_finite_figures({"update/loss": 0.5, "rollout/return": -3.0}, 3e-4, 70)
    with pytest.raises(UsageError, match=r"--lr 0\.0003, step 70: expected finite figures, got nan for update/kl"):
        require_finite_figures({"update/loss": 0.5, "update/kl": math.nan, "update/ess": math.inf}, 3e-4, 70)
