"""The best of a training's scored policies."""

import math

import numpy as np
import torch

from odeploy_sim.catalogue import get
from odeploy_train.policies.mlp import MlpConfig, MlpPolicy
from odeploy_train.runs.best_policy import Kept
from odeploy_train.runs.rollouts import Episodes

MAZE, HOPPER = get("maze-medium"), get("hopper")


def score(success: float, mean_return: float) -> Episodes:
    return Episodes(torch.zeros(0, 2), np.full(10, mean_return), np.arange(10) < round(10 * success))


def policy(value: float) -> MlpPolicy:
    made = MlpPolicy(MlpConfig(2, 2, (3,), clip=10.0))
    with torch.no_grad():
        for each in made.parameters():
            each.fill_(value)
    return made


def value(kept: Kept) -> float:
    assert kept.policy is not None
    return float(kept.policy["layers.1.bias"][0])


def test_on_a_task_with_success_success_comes_before_return() -> None:
    kept = Kept()
    for i, (success, mean_return) in enumerate([(0.2, 9.0), (0.5, 1.0), (0.5, 2.0), (0.4, 8.0)]):
        kept.offer(policy(i), score(success, mean_return), MAZE, 100 * i)
    assert (kept.step, value(kept), kept.worth) == (200, 2, (0.5, 2.0))


def test_on_other_tasks_only_the_return_counts() -> None:
    kept = Kept()
    for i, (success, mean_return) in enumerate([(1.0, -9.0), (0.0, -1.0), (1.0, -2.0)]):
        kept.offer(policy(i), score(success, mean_return), HOPPER, 100 * i)
    assert (kept.step, value(kept)) == (100, 1)


def test_of_equal_scores_the_later_policy_is_kept() -> None:
    kept = Kept()
    for i in range(3):
        kept.offer(policy(i), score(1.0, 5.0), MAZE, 100 * i)
    assert kept.step == 200


def test_the_kept_policy_is_a_copy() -> None:
    kept, learning = Kept(), policy(1.0)
    kept.offer(learning, score(1.0, 0.0), MAZE, 1)
    with torch.no_grad():
        for each in learning.parameters():
            each.fill_(7.0)
    assert value(kept) == 1.0


def test_a_checkpoint_has_the_last_policy_beside_the_kept_one() -> None:
    kept = Kept()
    first = kept.checkpoint(lambda: policy(7.0))
    assert first.keys() == {"policy", "kept"}
    assert float(first["policy"]["layers.1.bias"][0]) == 7.0
    kept.offer(policy(3.0), score(0.5, 1.0), MAZE, 40)
    both = kept.checkpoint(lambda: policy(7.0))
    assert [float(both[name]["layers.1.bias"][0]) for name in ("policy", "last")] == [3.0, 7.0]


def test_the_kept_policy_survives_a_continuation() -> None:
    kept, again = Kept(), Kept()
    again.resume(kept.state())
    assert (again.worth, again.policy) == ((-math.inf, -math.inf), None)
    kept.offer(policy(3.0), score(0.5, 1.0), MAZE, 40)
    again.resume(kept.state())
    again.offer(policy(4.0), score(0.4, 1.0), MAZE, 80)
    assert (again.step, value(again)) == (40, 3.0)
