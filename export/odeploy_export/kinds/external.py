"""Policies trained elsewhere: an opaque graph, and what it must compute."""

import logging
from dataclasses import dataclass, replace
from operator import attrgetter

import numpy as np
import onnx
import onnxruntime as ort
import torch
from torch import Tensor

from odeploy_export.kinds.kind import Deployment, Kind
from odeploy_export.options import SamplerOptions
from odeploy_export.parity.check import Reference, check_answers
from odeploy_export.parity.deviation import Allowed, Numbers
from odeploy_export.parity.rows import Array, Rows, golden_picks, golden_rows
from odeploy_runtime.errors import ContractError, ParityError
from odeploy_runtime.policy_file.manifest import GoldenRow, Noise, Parity
from odeploy_runtime.signals import Signal, highs, lows

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ExternalPolicy:
    """A graph with our inputs, outputs and limits, and its references.

    Attributes:
        model: `observation` (B, O) and perhaps `noise` (B, 1, 1, D) to `action` (B, H, A), within the limits.
        batches: sizes at which each row is answered as if it were alone.
        references: what it must compute, by other means and before any limit; the most exact first.
        witness: what computes the references, for messages.
        where: for messages.
        actions: signals of one action.
        horizon: H.
        noise_size: D, or 0 for a policy without noise.
        observation_mean, observation_std: of recorded observations. Shape (O,).
    """

    model: onnx.ModelProto
    batches: tuple[int, ...]
    references: tuple[Reference, ...]
    witness: str
    where: str
    actions: tuple[Signal, ...]
    horizon: int
    noise_size: int
    observation_mean: Tensor
    observation_std: Tensor

    def raw(self, reference: Reference, rows: Rows) -> Numbers:
        """Return a reference's actions before any limit. Shape (M, H, A).

        Raises:
            ContractError: an action that is not finite.
        """
        answer = reference(rows.observation, rows.noise).reshape(len(rows), -1, len(self.actions))
        if not np.isfinite(answer).all():
            row, step, signal = np.argwhere(~np.isfinite(answer))[0]
            raise ContractError(
                where=f"{self.where}, row {row}, signal {self.actions[signal].name}",
                expected="finite actions for recorded, random and edge observations",
                got=f"{answer[row, step, signal]:g} from {self.witness}",
                remedy="check its weights and its normaliser, which may divide by zero",
            )
        return answer

    def clipped(self, reference: Reference) -> Reference:
        """Return a reference whose actions are clipped to the limits. Shape (M, D)."""

        def act(observation: Array, noise: Array) -> Numbers:
            answer = self.raw(reference, Rows(observation, noise))
            inside: Numbers = np.clip(answer, lows(self.actions), highs(self.actions)).reshape(len(answer), -1)
            return inside

        return act


def external_noise(noise_size: int, mode: str | None) -> Noise:
    """Return the noise contract of a policy that takes D numbers, or none."""
    if not noise_size:
        return Noise("none")
    return Noise("zero" if mode == "zero" else "normal", (1, 1, noise_size))


def _sampling(policy: ExternalPolicy, options: SamplerOptions, _action_size: int) -> tuple[None, Noise]:
    return None, external_noise(policy.noise_size, options.noise)


def _reference(deployment: Deployment, dtype: torch.dtype) -> Reference:
    policy: ExternalPolicy = deployment.policy
    return policy.clipped(policy.references[0 if dtype == torch.float64 else -1])


def _check(session: ort.InferenceSession, deployment: Deployment, rows: Rows, allowed: Allowed) -> Parity:
    policy: ExternalPolicy = deployment.policy
    references = [policy.clipped(reference) for reference in policy.references]
    # Nothing is known of its rounding, so nothing is allowed for it.
    allowed = replace(allowed, where=policy.where, rounding=0.0)
    try:
        return check_answers(session, references, rows, allowed, policy.batches)
    except ParityError as error:
        raise ParityError(
            where=error.where,
            expected=error.expected.replace("torch and", f"{policy.witness} and"),
            got=error.got.replace("from torch", f"from {policy.witness}"),
            remedy="nothing was written; if float32 rounding alone is the cause, give a larger --tolerance",
        ) from None


def _golden(deployment: Deployment, rows: Rows) -> tuple[GoldenRow, ...]:
    policy: ExternalPolicy = deployment.policy
    low, high = lows(policy.actions), highs(policy.actions)
    answer = policy.raw(policy.references[-1], rows)
    beyond = int(((answer < low) | (answer > high)).any(axis=(1, 2)).sum())
    if beyond:
        log.info("limits: %d of %d actions exceed the task's and are clipped", beyond, len(rows))
    picks = golden_picks()
    return golden_rows(rows, picks, np.clip(answer, low, high).reshape(len(rows), -1)[picks])


EXTERNAL = Kind(
    name="external",
    policy=ExternalPolicy,
    manifest="mlp",  # for a reader: one pass, no sampler
    graph=attrgetter("policy.model"),
    reference=_reference,
    options=("noise",),
    sampling=_sampling,
    check=_check,
    golden=_golden,
    faults=None,
    horizon=attrgetter("horizon"),
    published=(),
)
