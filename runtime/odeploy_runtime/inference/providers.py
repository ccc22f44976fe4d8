"""Execution providers, and their options for true float32.

ONNX Runtime replaces a provider in three ways without an error: a provider with missing libraries is left out
of the session, an unsupported operator runs on the CPU, and a failed call is repeated on the CPU. Here each of
them is an error: the chosen provider computes the whole graph, or nothing.
"""

import onnxruntime as ort

from odeploy_runtime.errors import ProviderError

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
}
_COMES_WITH = {
    "cpu": "the extra `cpu`",
    "cuda": "the extra `gpu`, and CUDA with cuDNN",
    "tensorrt": "the extra `gpu`, and TensorRT with CUDA",
    "openvino": "the extra `openvino`, instead of `cpu`",
}
# By default each of these rounds: CUDA multiplies in TF32, OpenVINO in bf16 on processors that have it (errors up
# to 2e-2). TensorRT has no such option; its driver reads NVIDIA_TF32_OVERRIDE=0 from the environment.
_IN_FULL_PRECISION = {
    "cuda": {"use_tf32": "0"},
    "openvino": {"device_type": "CPU", "precision": "FP32"},
}


def require_available(provider: str) -> None:
    """Refuse a provider that this installation of ONNX Runtime does not have.

    Raises:
        ProviderError: the message lists the available ones.
    """
    has = ort.get_available_providers()
    if PROVIDERS.get(provider) in has:
        return
    remedy = "choose one of these"
    if provider in PROVIDERS:
        remedy += f", or install {_COMES_WITH[provider]}"
    raise ProviderError(
        where="--provider",
        expected=f"one of {', '.join(name for name, full in PROVIDERS.items() if full in has)} on this machine",
        got=provider,
        remedy=remedy,
    )


def provider_options(provider: str, threads: int) -> dict[str, str]:
    """Return a provider's options for true float32.

    They include the number of threads if it has its own pool.
    """
    own = {"num_of_threads": str(threads)} if provider == "openvino" else {}
    return _IN_FULL_PRECISION.get(provider, {}) | own


def forbid_fallback(options: ort.SessionOptions, provider: str) -> None:
    """Make an operator that would run on the CPU instead an error of the session."""
    if provider != "cpu":
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")


def fallback(message: str, provider: str, where: str) -> ProviderError | None:
    """Return the error for a message about a fallback to the CPU; None for others."""
    if "fallback to CPU EP has been explicitly disabled" not in message:
        return None
    return ProviderError(
        where=where,
        expected=f"a graph that {PROVIDERS[provider]} computes by itself",
        got="operators that it would leave to the CPU",
        remedy="fix the provider's installation, or use --provider cpu",
    )


def require_in_use(session: ort.InferenceSession, provider: str, where: str) -> None:
    """Refuse a session from which the provider was left out.

    Raises:
        ProviderError: another one is in its place.
    """
    got = session.get_providers()[0]
    if got != PROVIDERS[provider]:
        raise ProviderError(
            where=where,
            expected=PROVIDERS[provider],
            got=f"{got} (silent fallback)",
            remedy="fix the provider's installation, or use --provider cpu",
        )
