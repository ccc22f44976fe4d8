"""Execution providers: who may compute a graph, and how each is asked, so that float32 means float32.

ONNX Runtime replaces a provider in three ways without an error: one whose libraries are missing is left out of
the session, an operator that it cannot run goes to the CPU, a call that fails is made again on the CPU. Here each
of them is an error: what was asked for computes everything, or nothing is computed.
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
# Left alone, each of these rounds: CUDA multiplies in TF32, OpenVINO in bf16 where a processor has it (errors up
# to 2e-2). TensorRT has no such option; NVIDIA_TF32_OVERRIDE=0 in the environment is its driver's.
_IN_FULL_PRECISION = {
    "cuda": {"use_tf32": "0"},
    "openvino": {"device_type": "CPU", "precision": "FP32"},
}


def require_available(provider: str) -> None:
    """Refuses a provider that this installation of ONNX Runtime has not.

    Raises:
        ProviderError: the message lists those that it has.
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
    """What a provider is told: float32 as it is, and this many threads where it has its own."""
    own = {"num_of_threads": str(threads)} if provider == "openvino" else {}
    return _IN_FULL_PRECISION.get(provider, {}) | own


def forbid_fallback(options: ort.SessionOptions, provider: str) -> None:
    """Makes an operator that would go to the CPU instead an error of the session."""
    if provider != "cpu":
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")


def fallback(message: str, provider: str, where: str) -> ProviderError | None:
    """The refusal behind ONNX Runtime's words, if they are about what the provider cannot do."""
    if "fallback to CPU EP has been explicitly disabled" not in message:
        return None
    return ProviderError(
        where=where,
        expected=f"a graph that {PROVIDERS[provider]} computes by itself",
        got="operators that it would leave to the CPU",
        remedy="mend the provider's installation, or ask for --provider cpu",
    )


def require_in_use(session: ort.InferenceSession, provider: str, where: str) -> None:
    """Refuses a session from which the provider was left out.

    Raises:
        ProviderError: another one is in its place.
    """
    got = session.get_providers()[0]
    if got != PROVIDERS[provider]:
        raise ProviderError(
            where=where,
            expected=PROVIDERS[provider],
            got=f"{got} (silent fallback)",
            remedy="mend the provider's installation, or ask for --provider cpu",
        )
