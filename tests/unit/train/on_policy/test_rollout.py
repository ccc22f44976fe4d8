"""A rollout with a number that is not finite is refused with its place."""

from dataclasses import replace

import pytest
import torch

from odeploy_runtime.errors import ContractError
from odeploy_train.on_policy.rollout import Rollout, require_finite

T, N, O, D = 3, 2, 4, 1  # noqa: E741


def rollout() -> Rollout:
    flags = torch.zeros(T, N)
    return Rollout(
        torch.zeros(T, N, O), torch.zeros(T, N, O), torch.zeros(T, N, D), flags, flags, flags, flags == 0,
        torch.zeros(N, O), (torch.zeros(0, 2, dtype=torch.int64), torch.zeros(0, O)), flags[0, :0], flags[0, :0],
    )  # fmt: skip


def test_a_finite_rollout_passes() -> None:
    require_finite(rollout(), 6)


@pytest.mark.parametrize(
    ("name", "index", "place"),
    [
        ("raw", (2, 1, 3), "raw, tick 2, environment 1, signal 3"),
        ("observation", (0, 1, 2), "observation, tick 0, environment 1, signal 2"),
        ("action", (1, 0, 0), "action, tick 1, environment 0, signal 0"),
        ("reward", (2, 0), "reward, tick 2, environment 0"),
        ("last", (1, 3), "last, environment 1, signal 3"),
    ],
)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_the_first_number_that_is_not_finite_is_named_with_its_place(
    name: str, index: tuple[int, ...], place: str, value: float
) -> None:
    values = getattr(rollout(), name).clone()
    values[index] = value
    with pytest.raises(ContractError, match=f"at step 6: {place}: expected a finite number, got {value}"):
        require_finite(replace(rollout(), **{name: values}), 6)
