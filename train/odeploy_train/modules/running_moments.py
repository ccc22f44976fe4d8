"""Mean and variance in float64: running ones, and those of a data set.

Batches are merged by the parallel form of Chan, Golub and LeVeque (1979). The order and the sizes of the batches
do not matter beyond rounding.
"""

import torch
from torch import Tensor, nn

OBSERVATION_CLIP = 10.0
"""Clip of an observation that running moments normalise."""
STD_FLOOR = 1e-4
"""Smallest standard deviation by which running moments divide."""
# A signal that is constant in the demonstrations has std 0. Division by the lower bound keeps a deviation of a
# centimetre or a centiradian, which the network never saw, within one unit.
DATASET_STD_FLOOR = 0.01


class RunningMoments(nn.Module):
    """Moments of the columns of all rows so far; 0 and 1 before the first rows."""

    mean: Tensor
    variance: Tensor
    count: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("variance", torch.ones(size, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    def see(self, rows: Tensor) -> None:
        """Add rows. Shape (M, size)."""
        rows = rows.double()
        mean, variance, count = rows.mean(dim=0), rows.var(dim=0, correction=0), len(rows)
        total = self.count + count
        if self.count == 0:
            self.mean, self.variance = mean, variance
        else:
            shift = mean - self.mean
            self.variance = (
                self.variance * self.count + variance * count + shift.square() * self.count * count / total
            ) / total
            self.mean = self.mean + shift * count / total
        self.count = total

    def std(self, floor: float) -> Tensor:
        """Return the standard deviations, at least `floor`. Shape (size,)."""
        return self.variance.sqrt().clamp(min=floor)


class ReturnScale(nn.Module):
    """Divides rewards by the running standard deviation of the discounted return.

    It keeps the discounted return of N environments. Rewards are scaled, not shifted: a shift would change the
    value of an early end.
    """

    discounted: Tensor

    def __init__(self, lanes: int, discount: float) -> None:
        super().__init__()
        self.discount, self.moments = discount, RunningMoments(1)
        self.register_buffer("discounted", torch.zeros(lanes, dtype=torch.float64))

    def scale(self, rewards: Tensor, over: Tensor) -> Tensor:
        """Add T ticks and return their scaled rewards. Shapes (T, N), (T, N) -> (T, N)."""
        seen = torch.empty(rewards.shape, dtype=torch.float64)
        for t, (reward, ended) in enumerate(zip(rewards.double(), over.double(), strict=True)):
            self.discounted = self.discounted * self.discount + reward
            seen[t] = self.discounted
            self.discounted = self.discounted * (1 - ended)
        self.moments.see(seen.reshape(-1, 1))
        return (rewards / self.moments.std(1e-4)).to(rewards.dtype)


def moments(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each column, summed in float64.

    Shapes (M, S) -> (S,), (S,).
    """
    wide = values.double()
    std = wide.std(dim=0, correction=0).clamp(min=DATASET_STD_FLOOR)
    return wide.mean(dim=0).to(values.dtype), std.to(values.dtype)
