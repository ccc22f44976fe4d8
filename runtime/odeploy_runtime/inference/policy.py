"""A loaded policy, computed by ONNX Runtime or by the native backend."""

import contextlib
import logging
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.errors import MissingError, ParityError, PolicyFileError
from odeploy_runtime.inference.native_library import native_library
from odeploy_runtime.inference.native_policy import NativePolicy, not_for_native
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.inference.providers import PROVIDERS, require_available
from odeploy_runtime.policy_file.file import PolicyFile
from odeploy_runtime.policy_file.manifest import Manifest

NATIVE, AUTO = "native", "auto"

log = logging.getLogger(__name__)


class Policy(Protocol):
    """A policy file that has passed its golden rows on this machine.

    Attributes:
        manifest: manifest of the file.
        fingerprint: fingerprint of the file, 64 hex characters.
        provider: name of the backend in reports.
        golden_error: largest error of the golden rows at load, unit scale.
        hot_call_ns: duration of the shortest call at load.
        state: recurrent state, input and output of `infer`. Shape (S,); S = 0 without recurrence.
        previous, frozen: previous chunk and its weights, inputs of `infer` for real-time chunking. Shapes (H, A),
            (H,).
        raw_action: the network's own latest output, which a recipe may feed back. Shape (A,); (0,) unless it does.
    """

    manifest: Manifest
    fingerprint: str
    provider: str
    golden_error: float
    hot_call_ns: int
    state: NDArray[np.float32]
    previous: NDArray[np.float32]
    frozen: NDArray[np.float32]
    raw_action: NDArray[np.float32]

    def infer(self, observation: NDArray[np.float32], noise: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return actions for one observation (O,) and its noise (1, N, S, D).

        Shape (H, A); valid until the next call.
        """

    def touch(self) -> None:
        """Make one dummy call, which brings code and weights back into the caches.

        The state stays.
        """

    def reset(self) -> None:
        """Set recurrent state and weights of the previous chunk to zeros, for an episode."""


def require_backend(provider: str) -> None:
    """Refuse a provider that this machine does not have.

    Raises:
        ProviderError: the message lists the available ones.
    """
    if provider not in (NATIVE, AUTO):
        require_available(provider)


def option_of(backend: str) -> str:
    """Return the `--provider` of a backend's name in reports."""
    return next((option for option, name in PROVIDERS.items() if name == backend), backend)


def prepare(file: PolicyFile, provider: str) -> None:
    """Compile what `load_policy` needs, once for this process and its forks."""
    if provider in (NATIVE, AUTO) and not_for_native(file.manifest) is None:
        with contextlib.suppress(MissingError):  # `load_policy` raises it again, or takes ONNX Runtime
            native_library()


def load_policy(file: PolicyFile, provider: str) -> Policy:
    """Load a file, check its golden rows, and warm it up.

    Args:
        file: the checked policy file.
        provider: a key of `PROVIDERS`; `native` (see `odeploy_runtime/inference/native_policy.py`); or `auto`,
            which is `native` where it computes this file on this machine, else `cpu` and a log line with the
            reason.

    Raises:
        PolicyFileError: the file is refused.
        ProviderError: the provider is not available or was silently replaced.
        MissingError, ParityError: with `native`: no compiler, or other answers than ONNX Runtime's.
    """
    if provider not in (NATIVE, AUTO):
        return OnnxPolicy(file, provider)
    try:
        return NativePolicy(file)
    except (MissingError, ParityError, PolicyFileError) as error:
        if provider == NATIVE:
            raise
        policy = OnnxPolicy(file)  # raises the same error again if it was ONNX Runtime's
        level = logging.WARNING if isinstance(error, ParityError) else logging.INFO
        log.log(level, "ONNX Runtime, not native: expected %s, got %s", error.expected, error.got)
        return policy
