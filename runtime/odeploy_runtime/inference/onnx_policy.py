"""A policy file in ONNX Runtime, ready for a control loop.

Buffers are bound once, so a call copies a few numbers and runs. Loading checks shapes and golden rows. One
thread, no spinning: the default pool occupies a whole core at 50 Hz and gains nothing with networks of this
size.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from odeploy_runtime.errors import OdeployError, PolicyFileError, first_line
from odeploy_runtime.inference.previous_chunk import PreviousChunk
from odeploy_runtime.inference.providers import (
    PROVIDERS,
    fallback,
    forbid_fallback,
    provider_options,
    require_available,
    require_in_use,
)
from odeploy_runtime.policy_file.file import PolicyFile, read
from odeploy_runtime.signals import half_ranges

_WARM_UP_CALLS = 20


class OnnxPolicy:
    """One ONNX Runtime session with bound buffers.

    Attributes:
        manifest: manifest of the file.
        fingerprint: fingerprint of the file, 64 hex characters.
        provider: ONNX Runtime's name of the execution provider in use.
        state: recurrent state, see `Policy`. Shape (S,).
        previous, frozen: inputs of real-time chunking, see `Policy`. Shapes (H, A), (H,).
        raw_action: the network's own latest output, see `Policy`. Shape (A,) or (0,).
        golden_error: largest error of the golden rows at load, unit scale.
        hot_call_ns: duration of the shortest call at load.
        value, index: with best-of-N, the latest answer's value and its index among the candidates. Each of
            shape (1,).
    """

    def __init__(self, file: PolicyFile, provider: str = "cpu") -> None:
        """Build the session and replay the golden rows.

        Raises:
            PolicyFileError: the graph does not run, differs from its manifest, or fails its golden rows.
            ProviderError: the provider is not available or was silently replaced.
        """
        self.manifest, self.fingerprint = file.manifest, file.fingerprint
        self._where = str(file.path)
        m = file.manifest
        self._candidates = 1 if m.sampler is None else m.sampler.candidates
        self._session = open_session(file.data, provider, self._where, rows=self._candidates)
        self.provider = self._session.get_providers()[0]
        self._observation = np.zeros((1, len(m.observation)), np.float32)
        self._noise = np.zeros((1, *m.noise.shape), np.float32)
        self._action = np.zeros((1, m.horizon, len(m.action)), np.float32)
        self._state, self._next_state = np.zeros((2, 1, m.state_size), np.float32)
        self.state = self._state[0]
        self._previous, self._frozen = np.zeros_like(self._action), np.zeros((1, m.horizon), np.float32)
        self.previous, self.frozen = self._previous[0], self._frozen[0]
        uses_raw_action = m.recipe is not None and m.recipe.uses_raw_action
        self._raw_action = np.zeros((1, m.horizon, len(m.action) if uses_raw_action else 0), np.float32)
        self.raw_action = self._raw_action[0, 0]
        self.value, self.index = np.zeros(1, np.float32), np.zeros(1, np.int64)
        self._require_shapes()
        self._binding = self._session.io_binding()
        for name, buffer in self._inputs().items():
            self._binding.bind_input(name, "cpu", 0, np.float32, buffer.shape, buffer.ctypes.data)
        for name, output in self._outputs().items():
            self._binding.bind_output(name, "cpu", 0, output.dtype.type, output.shape, output.ctypes.data)
        try:
            self.golden_error = self._replay_golden_rows()
            self.hot_call_ns = warm_up(self.touch)
        except OdeployError:
            raise
        except Exception as error:  # noqa: BLE001 - ONNX Runtime raises a dozen bare types, as for lack of memory
            raise PolicyFileError(
                where=self._where,
                expected="a graph that runs",
                got=first_line(error),
                remedy="export the policy again",
            ) from None

    @classmethod
    def load(cls, path: Path, provider: str = "cpu") -> "OnnxPolicy":
        """Read, check and load a policy file."""
        return cls(read(path), provider)

    def infer(self, observation: NDArray[np.float32], noise: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return actions for one observation (O,) and its noise (1, N, S, D).

        Shape (H, A); valid until the next call.
        """
        self._observation[0] = observation
        self._noise[:] = noise
        self._session.run_with_iobinding(self._binding)
        if self._state.size:
            self._state[:] = self._next_state
        action: NDArray[np.float32] = self._action[0]
        return action

    def touch(self) -> None:
        """Make one dummy call with the present contents of the buffers; the state stays."""
        self._session.run_with_iobinding(self._binding)

    def reset(self) -> None:
        """Set recurrent state and weights of the previous chunk to zeros, for an episode."""
        self.state.fill(0)
        self.frozen.fill(0)

    def _inputs(self) -> dict[str, NDArray[np.float32]]:
        """Return the buffer of each input of the manifest."""
        inputs: dict[str, NDArray[np.float32]] = {"observation": self._observation}
        if self.manifest.noise.mode != "none":
            inputs["noise"] = self._noise
        if self.manifest.state_size:
            inputs["state_in"] = self._state
        if self.manifest.frozen is not None:
            inputs |= {"previous": self._previous, "frozen": self._frozen}
        return inputs

    def _outputs(self) -> dict[str, NDArray[Any]]:
        """Return the buffer of each output of the manifest."""
        outputs: dict[str, NDArray[Any]] = {"action": self._action}
        if self._candidates > 1:
            outputs |= {"value": self.value, "index": self.index}
        if self.manifest.state_size:
            outputs["state_out"] = self._next_state
        if self._raw_action.size:
            outputs["raw_action"] = self._raw_action
        return outputs

    def _require_shapes(self) -> None:
        stated = {name: buffer.shape[1:] for name, buffer in self._inputs().items()}
        inputs = {i.name: tuple(i.shape[1:]) for i in self._session.get_inputs()}
        outputs = {o.name: tuple(o.shape[1:]) for o in self._session.get_outputs()}
        promised = {name: output.shape[1:] for name, output in self._outputs().items()}
        if inputs != stated or any(outputs.get(name) != shape for name, shape in promised.items()):
            raise PolicyFileError(
                where=self._where,
                expected=f"inputs {stated} and outputs {promised} as in the manifest",
                got=f"{inputs} and {outputs}",
                remedy="export the policy again",
            )

    def _replay_golden_rows(self) -> float:
        scale = half_ranges(self.manifest.action)
        tolerances = {p.provider: p.tolerance for p in self.manifest.parity}
        tolerance = tolerances.get(self.provider, max(tolerances.values(), default=0.0))
        worst, previous_chunk = 0.0, PreviousChunk()
        self.reset()
        for i, row in enumerate(self.manifest.golden):
            noise = np.array(row.noise, np.float32).reshape(self._noise.shape)
            self.previous[:], self.frozen[:] = previous_chunk.before(0, 0, i)
            action = self.infer(np.array(row.observation, np.float32), noise)
            previous_chunk.commit(0, 0, i, action, self.manifest.frozen or 0)
            wanted = np.array(row.action, np.float32).reshape(action.shape)
            error = np.abs(action - wanted) / scale
            worst = float(np.maximum(worst, error.max()))  # keeps NaN, as max() does not
            if not worst <= tolerance:
                name = self.manifest.action_names[int(error.max(axis=0).argmax())]
                raise PolicyFileError(
                    where=f"{self._where}, golden row {i}, signal {name}",
                    expected=f"the recorded action within {tolerance:g} on unit scale",
                    got=f"an error of {worst:g}",
                    remedy="export again; if this machine's ONNX Runtime is at fault, install another version",
                )
        self.reset()
        return worst


def warm_up(touch: Callable[[], None]) -> int:
    """Call until the caches are warm; return the duration of the shortest call [ns]."""
    took = []
    for _ in range(_WARM_UP_CALLS):
        start = time.monotonic_ns()
        touch()
        took.append(time.monotonic_ns() - start)
    return min(took)


def open_session(data: bytes, provider: str, where: str, threads: int = 1, rows: int = 1) -> ort.InferenceSession:
    """Return an ONNX Runtime session on checked bytes, with the chosen provider.

    Args:
        data: bytes of the model.
        provider: a key of `PROVIDERS`.
        where: the file, for messages.
        threads: number that one operator may use.
        rows: batch rows of one call: the candidates of a best-of-N.

    Raises:
        ProviderError: unknown or unavailable provider, or a silent fallback.
        PolicyFileError: ONNX Runtime cannot load the graph.
    """
    require_available(provider)
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Prepacking copies a weight for every node that uses it: ten solver steps then no longer fit the caches. For
    # one row that costs more than it gains; for several the weight would be packed anew in every call.
    options.add_session_config_entry("session.disable_prepacking", "1" if rows == 1 else "0")
    options.log_severity_level = 4
    forbid_fallback(options, provider)
    requested = (PROVIDERS[provider], provider_options(provider, threads))
    try:
        session = ort.InferenceSession(data, options, providers=[requested], enable_fallback=0)
    except Exception as error:  # noqa: BLE001 - ONNX Runtime raises a dozen bare types
        raise fallback(str(error), provider, where) or PolicyFileError(
            where=where,
            expected="a graph that ONNX Runtime loads",
            got=str(error).splitlines()[0][:200],
            remedy="export the policy again",
        ) from None
    require_in_use(session, provider, where)
    return session
