"""The manifest: what a policy is, which robot it fits, how to verify it.

Stored as JSON in the policy file; docs/reference/policy-file.md describes the format for other readers.
"""

import json
from dataclasses import dataclass, field
from typing import Any, Literal

from odeploy_runtime.errors import FormatError, PolicyFileError
from odeploy_runtime.policy_file.actuation import Actuation
from odeploy_runtime.policy_file.recipe import Recipe
from odeploy_runtime.signals import Signal
from odeploy_runtime.typed_json import LEFT_OUT, from_json

MANIFEST_VERSION = 1
_MOST_NUMBERS = 1 << 20  # a hundred times what a frame of the wire carries; more would be a damaged file
ANCESTRAL = "ddpm"


@dataclass(frozen=True)
class Noise:
    """Contract of the graph's `noise` input.

    Attributes:
        mode: `none` (no such input), `zero` (feed zeros) or `normal` (feed N(0, I)).
        shape: (N candidates, S draws, D numbers per draw), without the batch.
    """

    mode: Literal["none", "zero", "normal"]
    shape: tuple[int, int, int] = (0, 0, 0)


@dataclass(frozen=True)
class Sampler:
    """Path of the graph from noise (t = 0) to the action (t = 1).

    Attributes:
        solver: Runge-Kutta method of a flow; `ddpm` (ancestral sampling) for a diffusion.
        steps: K for a flow, S for a diffusion.
        t_grid: the K + 1 times; for a diffusion 1 - k/T for each visited step k of its T, then 1.
        candidates: actions drawn for each observation; 1 unless best-of-N.
    """

    solver: str
    steps: int
    t_grid: tuple[float, ...]
    candidates: int = 1

    def __post_init__(self) -> None:
        if len(self.t_grid) != self.steps + 1:
            raise ValueError(f"{self.steps} steps need {self.steps + 1} times, not {len(self.t_grid)}")
        if self.candidates < 1:
            raise ValueError(f"{self.candidates} candidates")


@dataclass(frozen=True)
class Parity:
    """Result of the parity check on one execution provider, before the export.

    Attributes:
        provider: ONNX Runtime's name of the provider, such as `CPUExecutionProvider`.
        max_error: largest |torch - ONNX| over all rows, on unit-scale actions.
        tolerance: largest error allowed; golden rows are held to it too.
        rows: number of compared observations.
        batches: batch sizes compared.
        ties: for best-of-N, rows in which torch chose another candidate, equally good within the tolerance.
    """

    provider: str
    max_error: float
    tolerance: float
    rows: int
    batches: tuple[int, ...]
    ties: int = 0


@dataclass(frozen=True)
class GoldenRow:
    """One observation, its noise and the trained policy's action; all float32.

    The rows of a recurrent policy are one sequence, from a zero state.
    """

    observation: tuple[float, ...]
    noise: tuple[float, ...]
    action: tuple[float, ...]


@dataclass(frozen=True)
class Manifest:
    """Everything that a robot and a server need from a policy before it commands.

    Attributes:
        version: version of this structure; readers reject newer ones.
        name: name of the policy.
        method: training method, such as `fm-bc` or `distill`.
        kind: `flow` (integrates an ODE, takes noise), `diffusion` (denoises, takes a draw per step), `mlp` or
            `recurrent` (keeps a state from tick to tick).
        task: name of the task that it was trained on.
        rate_hz: control rate that it was trained for.
        horizon: H, actions per inference.
        observation: O signals, in order, raw units.
        action: A signals, in order, robot units.
        action_semantics: what the numbers command.
        noise: the noise contract.
        sampler: path from noise to action, for a flow or a diffusion; None for the others.
        parity: one entry per execution provider that passed the parity check.
        golden: rows that are replayed whenever the file is loaded.
        provenance: free JSON: config, data hash, versions, git revision.
        state_size: S, numbers that a recurrent policy keeps from tick to tick; 0 for the others.
        frozen: d, of real-time chunking: the first d actions of a chunk repeat the previous chunk; the graph then
            has inputs `previous` and `frozen` (`inference/previous_chunk.py`). None without real-time chunking.
        actuation: low-level control between two commands, on the robot's side; None where it is the robot's own.
        recipe: how the server builds the observation from the robot's signals; None where the robot sends it.
        observed: least and greatest value of each observation signal in the exporter's data, O pairs; None without
            data.
        task_digest: digest of that task's signals, limits, rate and horizon; None in older files.
    """

    version: int
    name: str
    method: str
    kind: Literal["flow", "diffusion", "mlp", "recurrent"]
    task: str
    rate_hz: float
    horizon: int
    observation: tuple[Signal, ...]
    action: tuple[Signal, ...]
    action_semantics: str
    noise: Noise
    sampler: Sampler | None
    parity: tuple[Parity, ...]
    golden: tuple[GoldenRow, ...]
    provenance: dict[str, Any]
    state_size: int = 0
    actuation: Actuation | None = field(default=None, metadata=LEFT_OUT)
    recipe: Recipe | None = field(default=None, metadata=LEFT_OUT)
    frozen: int | None = field(default=None, metadata=LEFT_OUT)
    observed: tuple[tuple[float, float], ...] | None = field(default=None, metadata=LEFT_OUT)
    task_digest: str | None = field(default=None, metadata=LEFT_OUT)

    def __post_init__(self) -> None:
        if not 0 < self.rate_hz < float("inf"):
            raise ValueError(f"rate_hz {self.rate_hz} is not positive")
        if self.horizon < 1 or not self.observation or not self.action:
            raise ValueError("horizon, observation and action must not be empty")
        if (self.kind in ("mlp", "recurrent")) != (self.sampler is None):
            raise ValueError("a flow has a sampler, a diffusion too, and the others have none")
        if self.state_size < 0 or (self.kind == "recurrent") != (self.state_size > 0):
            raise ValueError(f"a policy of kind {self.kind} with a state of {self.state_size} numbers")
        if self.sampler is not None:
            ancestral = self.sampler.solver == ANCESTRAL
            wanted = self.sampler.steps if ancestral else self.noise.shape[1]
            if ancestral != (self.kind == "diffusion") or self.noise.shape[1] != wanted:
                raise ValueError(f"a {self.kind} with {self.sampler_label} and noise of shape {self.noise.shape}")
        draws = self.noise.shape[0] * self.noise.shape[1] * self.noise.shape[2]
        if (self.noise.mode == "none") != (draws == 0) or min(self.noise.shape) < 0:
            raise ValueError(f"noise {self.noise.mode} with shape {self.noise.shape}")
        if self.sampler is not None and self.noise.shape[0] != self.sampler.candidates:
            raise ValueError(f"{self.sampler.candidates} candidates from noise of shape {self.noise.shape}")
        sizes = len(self.observation), draws, self.horizon * len(self.action)
        if max(*sizes, self.state_size) > _MOST_NUMBERS:
            raise ValueError(f"more than {_MOST_NUMBERS:,} numbers in a chunk, a draw or a state")
        for row in self.golden:
            if (len(row.observation), len(row.noise), len(row.action)) != sizes:
                raise ValueError(f"a golden row's sizes are not {sizes}")
        if self.frozen is not None and not (self.kind == "flow" and 0 <= self.frozen < self.horizon):
            raise ValueError(f"{self.frozen} frozen actions in a chunk of {self.horizon} of kind {self.kind}")
        if self.observed is not None:
            ordered = all(-float("inf") < low <= high < float("inf") for low, high in self.observed)
            if len(self.observed) != len(self.observation) or not ordered:
                raise ValueError(f"{len(self.observed)} ranges for {len(self.observation)} signals, or not ranges")
        if self.actuation is not None:
            self.actuation.fit(len(self.action), self.rate_hz)
        if self.recipe is not None:
            self.recipe.fit(self.observation_names, self.action, self.horizon)

    @property
    def observation_names(self) -> tuple[str, ...]:
        """Return the names of the observation's O signals, in order."""
        return tuple(s.name for s in self.observation)

    @property
    def raw(self) -> tuple[Signal, ...]:
        """Return the robot's signals: the recipe's R raw ones, or the observation."""
        return self.observation if self.recipe is None else self.recipe.raw

    @property
    def raw_names(self) -> tuple[str, ...]:
        """Return the names of the robot's signals."""
        return tuple(s.name for s in self.raw)

    @property
    def action_names(self) -> tuple[str, ...]:
        """Return the names of the action's A signals, in order."""
        return tuple(s.name for s in self.action)

    @property
    def sampler_label(self) -> str:
        """Return solver × steps for tables, with the candidates if more than one.

        A policy without a sampler has `-`.
        """
        if self.sampler is None:
            return "-"
        label = f"{self.sampler.solver} × {self.sampler.steps}"
        return label if self.sampler.candidates == 1 else f"{label}, best of {self.sampler.candidates}"


def parse_manifest(text: bytes, where: str) -> Manifest:
    """Parse a manifest.

    Check its version first, since a newer one may differ in everything else.

    Raises:
        PolicyFileError: of a newer version, or not a consistent manifest.
    """
    try:
        head = json.loads(text)
        version = head.get("version") if isinstance(head, dict) else None
    except (ValueError, RecursionError):
        version = None
    if isinstance(version, int) and version > MANIFEST_VERSION:
        raise PolicyFileError(
            where=f"{where}, manifest",
            expected=f"version {MANIFEST_VERSION} or older",
            got=f"version {version}",
            remedy="upgrade odeploy on this machine, or export with its version",
        )
    try:
        return from_json(Manifest, text, f"{where}, manifest")
    except FormatError as error:
        raise PolicyFileError(
            where=error.where, expected=error.expected, got=error.got, remedy="export the policy again"
        ) from None
