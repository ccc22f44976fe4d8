"""Held exploration noise: constant for h ticks in each environment, and fresh in each episode."""

import torch

from odeploy_train.off_policy.held_noise import HeldNoise


def counting() -> HeldNoise:
    """Return noise of two environments held for three ticks, whose draws are 0, 1, 2, ..."""
    numbers = iter(range(1000))
    return HeldNoise(2, 3, lambda n: torch.tensor([[float(next(numbers))] for _ in range(n)]))


def test_noise_is_held_for_its_ticks_and_then_redrawn() -> None:
    noise = counting()
    assert [noise.tick().flatten().tolist() for _ in range(7)] == [[0, 1]] * 3 + [[2, 3]] * 3 + [[4, 5]]


def test_a_new_episode_has_new_noise_held_for_its_own_ticks() -> None:
    noise = counting()
    noise.tick()
    noise.restart(torch.tensor([False, True]))
    assert [noise.tick().flatten().tolist() for _ in range(4)] == [[0, 2], [0, 2], [3, 2], [3, 4]]


def test_a_later_draw_does_not_change_an_earlier_ticks_noise() -> None:
    noise = counting()
    first = noise.tick()
    for _ in range(3):
        noise.tick()
    assert first.flatten().tolist() == [0, 1]
