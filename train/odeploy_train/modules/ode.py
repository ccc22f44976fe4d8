"""Explicit Runge-Kutta methods as data, and the loop that integrates with them.

dx/dt = field(t, x), with t = 0 for noise and t = 1 for the action. Training, sampling and export share the loop.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from torch import Tensor

from odeploy_runtime.errors import UsageError

Field = Callable[[float, Tensor], Tensor]
Advance = Callable[[Tensor, Tensor, float], Tensor]


@dataclass(frozen=True)
class Tableau:
    """Butcher tableau, checked at construction.

    Attributes:
        name: value of `--solver`.
        a: stage i starts from x + dt Σ_j a[i][j] slope_j; row i has i entries: the method is explicit.
        b: the step is x + dt Σ_i b[i] slope_i.
        order: the error of an integration falls with dt^order.
    """

    name: str
    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    order: int

    def __post_init__(self) -> None:
        if [len(row) for row in self.a] != list(range(len(self.b))):
            raise ValueError(f"tableau {self.name}: row i of a must have i entries, for {len(self.b)} stages")
        if not math.isclose(math.fsum(self.b), 1.0, abs_tol=1e-15):
            raise ValueError(f"tableau {self.name}: b sums to {math.fsum(self.b)}, not 1")
        if not 1 <= self.order <= len(self.b):
            raise ValueError(f"tableau {self.name}: {len(self.b)} stages cannot have order {self.order}")

    @property
    def c(self) -> tuple[float, ...]:
        """Position of each stage in the step, from 0 to 1: the row sums of `a`."""
        return tuple(math.fsum(row) for row in self.a)


EULER = Tableau("euler", a=((),), b=(1.0,), order=1)
MIDPOINT = Tableau("midpoint", a=((), (0.5,)), b=(0.0, 1.0), order=2)
HEUN = Tableau("heun", a=((), (1.0,)), b=(0.5, 0.5), order=2)
RK4 = Tableau("rk4", a=((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)), b=(1 / 6, 1 / 3, 1 / 3, 1 / 6), order=4)

SOLVERS = {tableau.name: tableau for tableau in (EULER, MIDPOINT, HEUN, RK4)}

# Type of a command's option that names a solver: its choices are those of the table.
if TYPE_CHECKING:
    SolverName = str
else:
    SolverName = Literal[tuple(SOLVERS)]


def solver(name: str) -> Tableau:
    """Return the named method.

    Raises:
        UsageError: no such method; the message lists them.
    """
    if name not in SOLVERS:
        raise UsageError(
            where="solver",
            expected=f"one of {', '.join(SOLVERS)}",
            got=repr(name),
            remedy="choose one of these",
        )
    return SOLVERS[name]


def uniform_grid(steps: int) -> tuple[float, ...]:
    """Return the K + 1 times k/K.

    Each is one division: a running sum drifts and does not end at exactly 1.
    """
    if steps < 1:
        raise UsageError(
            where="steps",
            expected="at least 1",
            got=str(steps),
            remedy="ask for 1 or more solver steps",
        )
    return tuple(k / steps for k in range(steps + 1))


def axpy(x: Tensor, slope: Tensor, scale: float) -> Tensor:
    """Return x + scale · slope."""
    return x + scale * slope


def integrate(
    field: Field, x: Tensor, tableau: Tableau, t_grid: Sequence[float], advance: Advance = axpy
) -> Tensor:
    """Integrate x from t_grid[0] to t_grid[-1].

    Slopes pass from `field` to `advance` unchanged. So an exporter can let `field` return its last hidden layer
    and fuse the last layer and the update into one Gemm: `torch.addmm(x, hidden, W, alpha=scale)`.

    Args:
        field: slope at (t, x); t is a Python float, t_k + c_i dt.
        x: state at t_grid[0]. Shape (B, D).
        tableau: method.
        t_grid: K + 1 times; steps need not be equal.
        advance: (x, slope, scale) -> x + scale · slope.

    Returns:
        State at t_grid[-1]. Shape (B, D).
    """
    for t, t_next in pairwise(t_grid):
        dt = t_next - t
        slopes: list[Tensor] = []
        for c, row in zip(tableau.c, tableau.a, strict=True):
            slopes.append(field(t + c * dt, _combine(x, slopes, row, dt, advance)))
        x = _combine(x, slopes, tableau.b, dt, advance)
    return x


def _combine(x: Tensor, slopes: Sequence[Tensor], weights: Sequence[float], dt: float, advance: Advance) -> Tensor:
    for slope, weight in zip(slopes, weights, strict=True):
        if weight != 0:  # a zero would cost the exported graph a Gemm
            x = advance(x, slope, dt * weight)
    return x


def evaluation_times(tableau: Tableau, t_grid: Sequence[float]) -> list[float]:
    """Return the times at which `integrate` evaluates the field, in order."""
    return [t + c * (t_next - t) for t, t_next in pairwise(t_grid) for c in tableau.c]
