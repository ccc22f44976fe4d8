"""The recurrent policy: torch's GRU cell between normaliser and bounds."""

import torch
from torch import nn

from odeploy_runtime.signals import Signal
from odeploy_train.policies.recurrent import Player, RecurrentConfig, RecurrentPolicy

ACTION = Signal("a", "N", low=-0.1, high=0.3), Signal("b", "N", low=-20.0, high=20.0)


def policy() -> RecurrentPolicy:
    generator = torch.Generator().manual_seed(0)
    made = RecurrentPolicy(RecurrentConfig(3, 2, state_size=8))
    made.initialise(generator)
    made.fit(torch.randn(50, 3, generator=generator) * 4 + 2, ACTION)
    return made.eval()


def observations(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, 3, generator=torch.Generator().manual_seed(1)) * 4 + 2


@torch.no_grad()
def test_a_tick_is_a_gru_cell_a_linear_layer_and_tanh_onto_the_limits() -> None:
    made, observation, state = policy(), observations(5), torch.linspace(-0.9, 0.9, 40).view(5, 8)
    cell = nn.GRUCell(3, 8)
    for own, theirs in zip(cell.parameters(), made.gru.parameters(), strict=True):
        own.copy_(theirs)
    following = cell((observation - made.observation_mean) / made.observation_std, state)
    unit = torch.tanh(following @ made.last.weight.T + made.last.bias)
    middle, half_range = torch.tensor([0.1, 0.0]), torch.tensor([0.2, 20.0])
    action, got = made(observation, state)
    torch.testing.assert_close(got, following)
    torch.testing.assert_close(action, middle + half_range * unit)


@torch.no_grad()
def test_a_sequence_equals_its_ticks_in_order() -> None:
    made, sequence = policy(), observations(4, 7)
    unit, states = made.unroll(sequence, made.first_state(4))
    state = made.first_state(4)
    for t in range(7):
        action, state = made(sequence[:, t], state)
        torch.testing.assert_close(action, made.to_robot(unit[:, t]))
        torch.testing.assert_close(state, states[:, t])


@torch.no_grad()
def test_a_player_carries_the_state_within_an_episode_and_a_new_one_starts_from_zero() -> None:
    made, observation = policy(), observations(1)
    player = Player(made)
    first, second = player(observation), player(observation)
    assert not torch.equal(first, second)
    assert torch.equal(Player(made)(observation), first)


def test_weights_come_from_the_given_generator() -> None:
    first, again = policy(), policy()
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    bound = 8**-0.5
    assert all(p.abs().max() <= bound and p.std() > bound / 4 for p in first.parameters())
