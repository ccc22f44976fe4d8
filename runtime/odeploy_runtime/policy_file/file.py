"""The policy file: one `.onnx` that says what it is, whom it fits and how to prove that it still works.

Two metadata entries ride in the model. `odeploy.manifest` is the JSON of `Manifest`. `odeploy.fingerprint`
is the SHA-256, as 64 hex characters, of the whole file with those 64 characters replaced by zeros.
The format is described for other readers in docs/reference/policy-file.md.
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from odeploy_runtime.errors import FormatError, PolicyFileError
from odeploy_runtime.policy_file.actuation import Actuation
from odeploy_runtime.policy_file.protobuf import metadata_spans
from odeploy_runtime.policy_file.recipe import Recipe
from odeploy_runtime.signals import Signal
from odeploy_runtime.typed_json import LEFT_OUT, from_json

MANIFEST_KEY = "odeploy.manifest"
FINGERPRINT_KEY = "odeploy.fingerprint"
MANIFEST_VERSION = 1
NO_FINGERPRINT = "0" * 64
ANCESTRAL = "ddpm"


@dataclass(frozen=True)
class Noise:
    """What the graph's `noise` input wants.

    Attributes:
        mode: `none` (no such input), `zero` (feed zeros) or `normal` (feed N(0, I)).
        shape: (N candidates, S draws, D numbers per draw); without the batch.
    """

    mode: Literal["none", "zero", "normal"]
    shape: tuple[int, int, int] = (0, 0, 0)


@dataclass(frozen=True)
class Sampler:
    """How the graph gets from noise to action: t = 0 is noise, t = 1 is the action.

    Attributes:
        solver: of a flow the name of the Runge-Kutta method, of a diffusion `ddpm`: ancestral sampling.
        steps: K of a flow, S of a diffusion.
        t_grid: the K + 1 times; of a diffusion 1 - k/T for each visited step k of its T, then 1.
        candidates: actions drawn for each observation (1 unless best-of-N).
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
    """What the gate measured for one execution provider before the file was written.

    Attributes:
        provider: ONNX Runtime's name of the provider, such as `CPUExecutionProvider`.
        max_error: largest |torch - ONNX| over all rows, on unit-scale actions.
        tolerance: what was allowed; golden rows are held to it too.
        rows: compared observations.
        batches: batch sizes that were run.
        ties: of a best-of-N, rows in which torch chose another candidate, as good within the tolerance.
    """

    provider: str
    max_error: float
    tolerance: float
    rows: int
    batches: tuple[int, ...]
    ties: int = 0


@dataclass(frozen=True)
class GoldenRow:
    """One observation with its noise and the action that the trained policy answers; all float32.

    Of a recurrent policy the rows are one sequence, from a zero state.
    """

    observation: tuple[float, ...]
    noise: tuple[float, ...]
    action: tuple[float, ...]


@dataclass(frozen=True)
class Manifest:
    """Everything that a robot must know of a policy before it lets it move anything.

    Attributes:
        version: of this structure; a reader refuses newer ones.
        name: of the policy.
        method: how it was trained, such as `fm-bc` or `distill`.
        kind: `flow` (integrates an ODE, wants noise), `diffusion` (denoises, wants a draw a step), `mlp` or
            `recurrent` (keeps a state from tick to tick).
        task: name of the task that it was trained on.
        rate_hz: control rate that it was trained for.
        horizon: H, actions per inference.
        observation: O signals, in order, raw units.
        action: A signals, in order, robot units.
        action_semantics: what the numbers command.
        noise: the noise contract.
        sampler: of a flow or a diffusion; None for the others.
        parity: one entry per execution provider that passed the gate.
        golden: rows that are replayed whenever the file is loaded.
        provenance: free JSON: config, data hash, versions, git revision.
        state_size: S, numbers that a recurrent policy keeps from tick to tick; 0 for the others.
        frozen: d, of real-time chunking: first actions of a chunk that are those of the one before; the graph then
            has inputs `previous` and `frozen` (`inference/previous_chunk.py`). None where it has not.
        actuation: what happens between two commands, on the robot's side; None where the robot alone knows.
        recipe: how the server makes the observation of what the robot sends; None where it sends that itself.
        observed: least and greatest of each observation signal among those that the exporter was given, O pairs;
            None where it was given none.
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
        """The O names, in order."""
        return tuple(s.name for s in self.observation)

    @property
    def raw_names(self) -> tuple[str, ...]:
        """What the robot sends, in order: the recipe's raw signals, or the observation itself."""
        return self.observation_names if self.recipe is None else tuple(s.name for s in self.recipe.raw)

    @property
    def action_names(self) -> tuple[str, ...]:
        """The A names, in order."""
        return tuple(s.name for s in self.action)

    @property
    def sampler_label(self) -> str:
        """Solver × steps, as tables print it, and how many candidates if more than one; `-` without a sampler."""
        if self.sampler is None:
            return "-"
        label = f"{self.sampler.solver} × {self.sampler.steps}"
        return label if self.sampler.candidates == 1 else f"{label}, best of {self.sampler.candidates}"


@dataclass(frozen=True)
class PolicyFile:
    """A file whose fingerprint has been checked: its manifest and the very bytes that were hashed."""

    path: Path
    manifest: Manifest
    fingerprint: str
    data: bytes


def read(path: Path) -> PolicyFile:
    """Reads and checks a policy file; ONNX Runtime has not seen it yet.

    Raises:
        PolicyFileError: missing, cut, altered, of a newer version, or with weights elsewhere.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PolicyFileError(
            where=str(path),
            expected="a policy file",
            got=error.strerror or type(error).__name__,
            remedy="give the path of a file that `odeploy export` wrote",
        ) from None
    return parse(path, data)


def parse(path: Path, data: bytes) -> PolicyFile:
    """Checks the bytes of a policy file; see `read`."""
    spans = metadata_spans(data, str(path))
    if MANIFEST_KEY not in spans or FINGERPRINT_KEY not in spans:
        raise PolicyFileError(
            where=str(path),
            expected="an odeploy manifest and fingerprint in the metadata",
            got="an ONNX file without them",
            remedy="export the policy with `odeploy export`",
        )
    start, end = spans[FINGERPRINT_KEY]
    stated, actual = data[start:end].decode("ascii", "replace"), fingerprint_of(data, start, end)
    if stated != actual:
        raise PolicyFileError(
            where=str(path),
            expected=f"contents with fingerprint {stated[:12]}…",
            got=f"{actual[:12]}… (the file has changed since its export)",
            remedy="copy the file again or export it anew",
        )
    start, end = spans[MANIFEST_KEY]
    return PolicyFile(path, parse_manifest(data[start:end], str(path)), actual, data)


def parse_manifest(text: bytes, where: str) -> Manifest:
    """Parses a manifest; the version comes first, since a newer one may look entirely different."""
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
            where=error.where, expected=error.expected, got=error.got, remedy="export the policy anew"
        ) from None


def fingerprint_of(data: bytes, start: int, end: int) -> str:
    """SHA-256 of `data` with the fingerprint's own characters, [start, end), read as zeros."""
    digest = hashlib.sha256(data[:start])
    digest.update(b"0" * (end - start))
    digest.update(data[end:])
    return digest.hexdigest()


def seal(data: bytes, where: str) -> bytes:
    """Returns `data` with its placeholder fingerprint replaced by the true one."""
    start, end = metadata_spans(data, where)[FINGERPRINT_KEY]
    return data[:start] + fingerprint_of(data, start, end).encode("ascii") + data[end:]
