from typing import get_args

from odeploy_train.runs.algorithm_version import ALGORITHM_VERSIONS, algorithm_version
from odeploy_train.runs.folder import Method


def test_every_version_is_of_a_verb_and_above_the_one_that_needs_no_entry() -> None:
    assert set(ALGORITHM_VERSIONS) <= set(get_args(Method))
    assert all(version > 1 for version in ALGORITHM_VERSIONS.values())
    assert algorithm_version("bc") == 1
