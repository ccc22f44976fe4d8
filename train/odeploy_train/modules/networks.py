"""The networks: a velocity field for flows, a small tanh MLP for students. Unit-scale numbers in and out."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import silu


def time_embedding(t: Tensor, features: int) -> Tensor:
    """cos and sin of ω_k t at features / 2 frequencies ω_k = π/2 · 2^(k/2), in rad per unit of flow time.

    The lowest runs through a quarter of its period while t goes from 0 to 1, so it alone tells all times
    apart; each next one is √2 faster, up to 17.8 rad at 16 features, which a few solver steps still resolve.

    Args:
        t: flow time, 0 noise to 1 action; its dtype is kept. Shape (B,).
        features: E, even.

    Returns:
        The cosines, then the sines. Shape (B, E).
    """
    frequencies = [math.pi / 2 * 2 ** (k / 2) for k in range(features // 2)]
    angles = t[:, None] * torch.tensor(frequencies, dtype=t.dtype, device=t.device)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class VelocityNet(nn.Module):
    """v(observation, x, t): SiLU layers over [observation, x, emb(t)].

    The first layer is linear in its three parts and nothing comes before it: an exporter may compute the
    observation's part once for all solver steps, and the time's part before it writes the graph.
    """

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        width: int = 256,
        depth: int = 3,
        time_features: int = 16,
    ) -> None:
        super().__init__()
        if depth < 1 or time_features < 2 or time_features % 2:
            raise ValueError(
                f"depth {depth} and time_features {time_features}: one layer, two features at least, even"
            )
        self.observation_size, self.action_size = observation_size, action_size
        self.time_features = time_features
        self.first = nn.Linear(observation_size + action_size + time_features, width)
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(depth - 1))
        self.last = nn.Linear(width, action_size)

    def forward(self, observation: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """The velocity. Shapes (B, O), (B, D), (B,) -> (B, D)."""
        h = silu(self.first(torch.cat([observation, x, time_embedding(t, self.time_features)], dim=-1)))
        for layer in self.hidden:
            h = silu(layer(h))
        velocity: Tensor = self.last(h)
        return velocity


def over_states(
    net: VelocityNet, observation: Tensor, count: int, times: Sequence[float]
) -> Callable[[float, Tensor], Tensor]:
    """The network at (t, x) for several rows of x a state, for sampling: without a gradient.

    The first layer's part of a state is computed once, for all its rows and all times.

    Args:
        net: its weights of this moment; what they give is kept, so that a later update asks anew.
        observation: normalised. Shape (B, O).
        count: M, rows of x for each of them, next to each other.
        times: at which it will be asked.

    Returns:
        (t, x of shape (B M, D)) -> the answer of shape (B M, D).
    """
    W, O, D = net.first.weight, net.observation_size, net.action_size  # noqa: E741
    o = torch.addmm(net.first.bias, observation, W[:, :O].T)
    embedded = time_embedding(o.new_tensor(times), net.time_features) @ W[:, O + D :].T
    W_x, at = W[:, O : O + D].T, {t: embedded[i] for i, t in enumerate(times)}

    def answer(t: float, x: Tensor) -> Tensor:
        h = silu((x @ W_x).view(len(o), count, -1).add_((o + at[t])[:, None]), inplace=True).flatten(0, 1)
        for layer in net.hidden:
            h = silu(layer(h), inplace=True)
        last: Tensor = net.last(h)
        return last

    return answer


def silu_and_slope(z: Tensor) -> tuple[Tensor, Tensor]:
    """silu(z) = z σ(z), and its derivative σ (1 + z - z σ). Any shape."""
    sigmoid = z.sigmoid()
    h = z * sigmoid
    return h, sigmoid * (1 + z - h)


class StudentNet(nn.Module):
    """A tanh MLP whose output lies in (-1, 1)."""

    def __init__(self, observation_size: int, action_size: int, width: int = 256, depth: int = 2) -> None:
        super().__init__()
        if depth < 1:
            raise ValueError(f"depth {depth}: one hidden layer at least")
        sizes = [observation_size, *[width] * depth]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.last = nn.Linear(width, action_size)

    def forward(self, observation: Tensor) -> Tensor:
        """The action on unit scale. Shapes (B, O) -> (B, A)."""
        h = observation
        for layer in self.hidden:
            h = torch.tanh(layer(h))
        return torch.tanh(self.last(h))


def mlp(sizes: Sequence[int], activation: Callable[[], nn.Module]) -> nn.Sequential:
    """Linear layers of these sizes, the activation between each two."""
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes):
        layers += [nn.Linear(a, b), activation()]
    return nn.Sequential(*layers[:-1])


def initialise_orthogonal(network: nn.Sequential, last_gain: float, generator: torch.Generator) -> None:
    """Orthogonal weights with gain √2, `last_gain` in the last layer, and no biases, as PPO is usually begun."""
    layers = [layer for layer in network if isinstance(layer, nn.Linear)]
    for layer in layers:
        nn.init.orthogonal_(layer.weight, last_gain if layer is layers[-1] else math.sqrt(2), generator)
        nn.init.zeros_(layer.bias)


def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Draws all weights and biases anew, U(±1/√fan_in) as torch does, but from our own generator."""
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            bound = layer.in_features**-0.5
            nn.init.uniform_(layer.weight, -bound, bound, generator)
            nn.init.uniform_(layer.bias, -bound, bound, generator)
