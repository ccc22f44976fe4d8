"""A recurrent policy: one GRU cell with its normaliser and bounds.

For tasks where one observation is not enough. Its state, S numbers in (-1, 1), passes from tick to tick and is
zero at the beginning of an episode. The cell is torch's (arXiv 1406.1078, with the reset gate after the product):

    r = σ(W_ir o + b_ir + W_hr h + b_hr)              share of the old state in the candidate
    z = σ(W_iz o + b_iz + W_hz h + b_hz)              share of the old state that stays
    n = tanh(W_in o + b_in + r ∘ (W_hn h + b_hn))     candidate
    h' = (1 - z) ∘ n + z ∘ h,   a = tanh(W_a h' + b_a) in unit scale
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from odeploy_train.policies.student import UnitScalePolicy


@dataclass(frozen=True)
class RecurrentConfig:
    """Sizes of a `RecurrentPolicy`."""

    observation_size: int
    """Size O of the observation."""
    action_size: int
    """Size A of the action."""
    state_size: int = 128
    """Size S of the state."""


class RecurrentPolicy(UnitScalePolicy):
    """One pass through a GRU cell; deterministic, given the observation and the state."""

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__(config.observation_size, config.action_size)
        self.config = config
        self.gru = nn.GRU(config.observation_size, config.state_size, batch_first=True)
        self.last = nn.Linear(config.state_size, config.action_size)

    def initialise(self, generator: torch.Generator) -> None:
        """Redraw all weights and biases, U(±1/√S) as torch does, with the given generator."""
        bound = self.config.state_size**-0.5
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.uniform_(-bound, bound, generator=generator)

    def first_state(self, rows: int) -> Tensor:
        """Return the state at the beginning of an episode: zeros. Shape (rows, S)."""
        return self.low.new_zeros(rows, self.config.state_size)

    def unroll(self, observations: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Run T ticks in sequence, with actions in unit scale.

        Args:
            observations: raw. Shape (B, T, O).
            state: state before the first tick. Shape (B, S).

        Returns:
            Actions in (-1, 1), shape (B, T, A), and the state after each tick, shape (B, T, S).
        """
        states, _ = self.gru(self.normalise(observations), state[None])
        return torch.tanh(self.last(states)), states

    def forward(self, observation: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the action in robot units and the next state.

        Shapes (B, O), (B, S) -> (B, A), (B, S).
        """
        unit, states = self.unroll(observation[:, None], state)
        return self.to_robot(unit[:, 0]), states[:, 0]


class Player:
    """Recurrent policy with its state, for one episode."""

    def __init__(self, policy: RecurrentPolicy) -> None:
        self._policy, self._state = policy, policy.first_state(1)

    def __call__(self, observation: Tensor) -> Tensor:
        """Return the action of the next tick. Shapes (1, O) -> (1, A)."""
        action: Tensor
        action, self._state = self._policy(observation, self._state)
        return action
