"""Who computes a policy file: ONNX Runtime by one of its providers, or a program of this machine's own."""

from typing import Protocol

from odeploy_runtime.inference.onnx_policy import OnnxPolicy, Policy
from odeploy_runtime.inference.providers import PROVIDERS, require_available
from odeploy_runtime.policy_file.file import PolicyFile

NATIVE = "native"


class LoadedPolicy(Policy, Protocol):
    """A policy that has proven its file on this machine.

    Attributes:
        provider: what computes it, as reports have it.
        golden_error: largest error at load, unit scale.
        hot_call_ns: the shortest call.
    """

    provider: str
    golden_error: float
    hot_call_ns: int


def require_backend(provider: str) -> None:
    """Refuses a provider that this machine has not.

    Raises:
        ProviderError: the message lists those that it has.
    """
    if provider != NATIVE:
        require_available(provider)


def backend_name(provider: str) -> str:
    """As reports have it: ONNX Runtime's own name of its provider, or `native`."""
    return PROVIDERS.get(provider, provider)


def load_policy(file: PolicyFile, provider: str) -> LoadedPolicy:
    """A file, loaded, proven and warm.

    Args:
        file: its bytes, checked.
        provider: a key of `PROVIDERS`, or `native` (see `odeploy_runtime/inference/native_policy.py`).

    Raises:
        PolicyFileError: the file is refused.
        ProviderError: the provider is not available or was silently replaced.
        MissingError, ParityError: of `native`: no compiler, or answers that are not ONNX Runtime's.
    """
    if provider == NATIVE:
        from odeploy_runtime.inference.native_policy import NativePolicy

        return NativePolicy(file)
    return OnnxPolicy(file, provider)
