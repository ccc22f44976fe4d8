"""Loss and reward of a discriminator's logits."""

import pytest
import torch
from torch.nn.functional import binary_cross_entropy

from odeploy_train.inverse_rl.classification import RewardForm, accuracy, classification, reward_of


@pytest.mark.parametrize(
    ("form", "probability", "reward"),
    [
        ("logit", 0.8, 1.3862943611),  # log 4
        ("positive", 0.8, 1.6094379124),  # -log 0.2
        ("negative", 0.8, -0.2231435513),  # log 0.8
        ("positive", 0.5, 0.6931471806),
        ("negative", 0.5, -0.6931471806),
        ("logit", 0.5, 0.0),
    ],
)
def test_rewards_of_a_known_probability(form: RewardForm, probability: float, reward: float) -> None:
    logit = torch.tensor(probability, dtype=torch.float64).logit()
    assert reward_of(logit, form).item() == pytest.approx(reward, abs=1e-9)


def test_rewards_are_finite_when_the_discriminator_is_certain() -> None:
    logit = torch.tensor([-500.0, 500.0])
    torch.testing.assert_close(reward_of(logit, "positive"), torch.tensor([0.0, 500.0]))
    torch.testing.assert_close(reward_of(logit, "negative"), torch.tensor([-500.0, 0.0]))


def test_classification_is_the_cross_entropy_of_both_labels() -> None:
    expert, agent = torch.randn(2, 50, generator=torch.Generator().manual_seed(0))
    loss, _ = classification(expert, agent)
    expected = binary_cross_entropy(expert.sigmoid(), torch.ones(50)) + binary_cross_entropy(
        agent.sigmoid(), torch.zeros(50)
    )
    torch.testing.assert_close(loss, expected)


def test_accuracy_weights_both_sides_equally() -> None:
    assert accuracy(torch.tensor([1.0, 2.0, -1.0, 3.0]), torch.tensor([-1.0, 1.0])).item() == 0.625
