"""Networks in unit scale: a velocity field for flows, a tanh MLP for students."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import silu


def time_embedding(t: Tensor, features: int) -> Tensor:
    """Return cos and sin of ω_k t at E / 2 frequencies ω_k = π/2 · 2^(k/2).

    Frequencies are in rad per unit of flow time. The lowest runs through a quarter of its period while t goes from
    0 to 1, so it alone distinguishes all times. Each next one is √2 faster, up to 17.8 rad at 16 features, which a
    few solver steps still resolve.

    Args:
        t: flow time, from 0 (noise) to 1 (action); the result has its dtype. Shape (B,).
        features: number E, even.

    Returns:
        The cosines, then the sines. Shape (B, E).
    """
    frequencies = [math.pi / 2 * 2 ** (k / 2) for k in range(features // 2)]
    angles = t[:, None] * torch.tensor(frequencies, dtype=t.dtype, device=t.device)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class VelocityNet(nn.Module):
    """Velocity v(observation, x, t): SiLU layers over [observation, x, emb(t)].

    The first layer is linear in its three parts. So an exporter can compute the observation's part once for all
    solver steps, and the time's part when it writes the graph.
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
        """Return the velocity. Shapes (B, O), (B, D), (B,) -> (B, D)."""
        h = silu(self.first(torch.cat([observation, x, time_embedding(t, self.time_features)], dim=-1)))
        for layer in self.hidden:
            h = silu(layer(h))
        velocity: Tensor = self.last(h)
        return velocity


def over_states(
    net: VelocityNet, observation: Tensor, count: int, times: Sequence[float]
) -> Callable[[float, Tensor], Tensor]:
    """Return the network at (t, x), several rows of x per state, without a gradient.

    The first layer's product with a state is computed once, for all its rows and all times.

    Args:
        net: its present weights are used; after an update, call this function again.
        observation: normalised. Shape (B, O).
        count: rows M of x per state, next to each other.
        times: all times t of later calls.

    Returns:
        (t, x of shape (B M, D)) -> output of shape (B M, D).
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
    """Return silu(z) = z σ(z) and its derivative σ (1 + z - z σ). Any shape."""
    sigmoid = z.sigmoid()
    h = z * sigmoid
    return h, sigmoid * (1 + z - h)


class StudentNet(nn.Module):
    """Tanh MLP with outputs in (-1, 1)."""

    def __init__(self, observation_size: int, action_size: int, width: int = 256, depth: int = 2) -> None:
        super().__init__()
        if depth < 1:
            raise ValueError(f"depth {depth}: one hidden layer at least")
        sizes = [observation_size, *[width] * depth]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.last = nn.Linear(width, action_size)

    def forward(self, observation: Tensor) -> Tensor:
        """Return the action in unit scale. Shapes (B, O) -> (B, A)."""
        h = observation
        for layer in self.hidden:
            h = torch.tanh(layer(h))
        return torch.tanh(self.last(h))


def mlp(sizes: Sequence[int], activation: Callable[[], nn.Module], *, norm: bool = False) -> nn.Sequential:
    """Return linear layers of these sizes, with the activation between them.

    With `norm`, a LayerNorm stands before each activation.
    """
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes[:-1]):
        layers += [nn.Linear(a, b), *([nn.LayerNorm(b)] if norm else []), activation()]
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


def initialise_orthogonal(network: nn.Sequential, last_gain: float, generator: torch.Generator) -> None:
    """Draw orthogonal weights and set biases to 0, the usual start of PPO.

    The gain is √2, and `last_gain` in the last layer.
    """
    layers = [layer for layer in network if isinstance(layer, nn.Linear)]
    for layer in layers:
        nn.init.orthogonal_(layer.weight, last_gain if layer is layers[-1] else math.sqrt(2), generator)
        nn.init.zeros_(layer.bias)


def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Redraw weights and biases, U(±1/√fan_in) as in torch, by the given generator."""
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            bound = layer.in_features**-0.5
            nn.init.uniform_(layer.weight, -bound, bound, generator)
            nn.init.uniform_(layer.bias, -bound, bound, generator)
