"""Options of an export: sampler, reading of others' policies, parity check."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from odeploy_export.graphs.rewrites import Precision
from odeploy_export.parity.deviation import ROUNDING, TOLERANCES
from odeploy_runtime.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class SamplerOptions:
    """Sampler of a generative policy; None is the default of its type."""

    solver: str | None = None
    """ODE solver of a flow: `euler`, `midpoint`, `heun` or `rk4`; euler if not given."""
    steps: int | None = None
    """Number of steps from noise to action: K solver steps of a flow (10 if not given), or S of a
    diffusion policy's training steps (if not given 100, or all if there are fewer)."""
    t_grid: str | None = None
    """Times of a flow's steps instead of equal ones: K + 1 numbers from 0 to 1, separated by commas."""
    candidates: int | None = None
    """Number N of sampled actions for a policy with critics, which choose the best; if not given 16 for a flow and
    1 for a diffusion policy, which is what its training scores (QVPO's and DPMD's authors score 32)."""
    noise: Literal["zero", "normal"] | None = None
    """Noise of a flow or diffusion policy: zeros give its one deterministic answer, normal is N(0, I);
    normal if not given."""


@dataclass(frozen=True, kw_only=True)
class ReadingOptions:
    """How to read a policy of another library where its file leaves it open."""

    observation_order: str | None = None
    """Order of the parts of a dictionary observation in a flat one: `task`, `sorted` as gymnasium's
    FlattenObservation does, or the keys in order, separated by commas."""
    actions: Literal["rescaled", "raw"] | None = None
    """Unit of actions within ±1: `rescaled` to the task's limits, as behind gymnasium's RescaleAction, or `raw`
    robot units."""
    squash: Literal["tanh", "clip"] | None = None
    """How unbounded actions are limited: `tanh` for the network of SAC or TQC without its last step, `clip` for
    PPO, A2C or any other."""


@dataclass(frozen=True, kw_only=True)
class ParityOptions:
    """Requirements of the parity check."""

    tolerance: float | None = None
    """Largest error between torch and ONNX, on unit-scale actions; if not given 1e-5, or 1e-2 with fp16. A policy
    whose own float32 error exceeds a quarter of this default may deviate by four times its float32 error."""
    precision: Precision = "f32"
    """Precision of weights and products. `fp16` is for GPUs. Inputs and outputs are always float32."""
    provider: tuple[str, ...] = ("cpu",)
    """Execution providers to check: `cpu`, `cuda`, `tensorrt`, `openvino`, as many as this machine has. The
    manifest records the result of each."""
    closed_loop: int = 0
    """Number of episodes that torch and the file play side by side. The manifest records the result."""

    @property
    def allowed(self) -> float:
        """Tolerance, or the default of the precision."""
        return TOLERANCES[self.precision] if self.tolerance is None else self.tolerance

    @property
    def rounding(self) -> float:
        """Allowed multiple of torch's float32 error; 0 if a tolerance was given."""
        return ROUNDING if self.tolerance is None else 0.0


def refuse_given(options: object, names: Iterable[str], expected: str, got: str) -> None:
    """Refuse options that were given: neither None nor a flag that is off.

    Raises:
        UsageError: the message names them as the command line does.
    """
    given = [f"--{name.replace('_', '-')}" for name in names if getattr(options, name) not in (None, False, 0)]
    if given:
        raise UsageError(where=", ".join(given), expected=expected, got=got, remedy="leave the option out")
