"""A policy file without ONNX Runtime in the loop: a program for a small C library.

For one row a policy is a few matrix-vector products. Each call of ONNX Runtime runs through much code, which an
idle period of 20 ms evicts from the caches; a few loops stay small. docs/decisions.md has the measurements.
ONNX Runtime still loads the file first and checks its golden rows; the program is used only if it then gives
the same answers on this machine.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.errors import ParityError, PolicyFileError
from odeploy_runtime.inference.native_graph import read_graph
from odeploy_runtime.inference.native_library import native_library
from odeploy_runtime.inference.native_program import Program
from odeploy_runtime.inference.onnx_policy import OnnxPolicy, warm_up
from odeploy_runtime.policy_file.file import PolicyFile, read
from odeploy_runtime.policy_file.manifest import Manifest
from odeploy_runtime.signals import half_ranges

_RANDOM_ROWS = 256


class NativePolicy:
    """A native program with bound buffers; a `Policy`.

    Attributes:
        manifest: manifest of the file.
        fingerprint: fingerprint of the file, 64 hex characters.
        provider: `native`.
        state: empty, since recurrent policies are refused. Shape (0,).
        previous, frozen: unused, since real-time chunking is refused. Shapes (H, A), (H,).
        raw_action: the network's own latest output, see `Policy`. Shape (A,) or (0,).
        golden_error: largest error of the golden rows at load, unit scale.
        hot_call_ns: duration of the shortest call at load.
    """

    provider = "native"

    def __init__(self, file: PolicyFile) -> None:
        """Translate, and compare with ONNX Runtime.

        Raises:
            PolicyFileError: ONNX Runtime refuses the file, or its graph has unsupported operators.
            MissingError: no library: no working C compiler, and none in the package.
            ParityError: the program's answers differ from ONNX Runtime's.
        """
        where, m = str(file.path), file.manifest
        got = not_for_native(m)
        if got is not None:
            raise PolicyFileError(
                where=where,
                expected="a policy of one row without a state",
                got=got,
                remedy="serve the file with ONNX Runtime",
            )
        proven = OnnxPolicy(file)
        self.manifest, self.fingerprint = m, file.fingerprint
        self.state = np.zeros(0, np.float32)
        self.previous, self.frozen = (
            np.zeros((m.horizon, len(m.action)), np.float32),
            np.zeros(m.horizon, np.float32),
        )
        inputs: dict[str, tuple[int, ...]] = {"observation": (1, len(m.observation))}
        if m.noise.mode != "none":
            inputs["noise"] = (1, *m.noise.shape)
        self._program = Program(read_graph(file.data, where), inputs, where)
        self._observation = self._program.values["observation"]
        self._noise = self._program.values.get("noise", np.zeros((1, *m.noise.shape), np.float32))
        self._action: NDArray[np.float32] = self._program.values["action"][0]
        uses_raw_action = m.recipe is not None and m.recipe.uses_raw_action
        self.raw_action = self._program.values["raw_action"][0, 0] if uses_raw_action else np.zeros(0, np.float32)
        self._run = native_library().run
        self._arguments = self._program.steps, len(self._program.steps)
        self._compare(proven, where)
        self.golden_error = self._replay_golden_rows()
        self.hot_call_ns = warm_up(self.touch)

    @classmethod
    def load(cls, path: Path) -> "NativePolicy":
        """Read, check and translate a policy file."""
        return cls(read(path))

    def infer(self, observation: NDArray[np.float32], noise: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return actions for one observation (O,) and its noise (1, 1, D).

        Shape (H, A); valid until the next call.
        """
        self._observation[0] = observation
        self._noise[:] = noise
        self._run(*self._arguments)
        return self._action

    def touch(self) -> None:
        """Make one dummy call with the present contents of the buffers."""
        self._run(*self._arguments)

    def reset(self) -> None:
        """Do nothing: there is no state."""

    def _compare(self, proven: OnnxPolicy, where: str) -> None:
        """Compare the program's actions with ONNX Runtime's.

        Compared are the golden rows, and observations up to three times as large.

        Raises:
            ParityError: other actions.
        """
        m, rng = self.manifest, np.random.default_rng(0)
        golden = np.array([row.observation for row in m.golden], np.float32)
        spread = rng.uniform(-3, 3, (_RANDOM_ROWS, golden.shape[1])).astype(np.float32)
        rows = np.concatenate([golden, golden[np.arange(_RANDOM_ROWS) % len(golden)] * spread])
        draws = rng.standard_normal((len(rows), *self._noise.shape), np.float32) * (m.noise.mode == "normal")
        for row, draw in zip(m.golden, draws, strict=False):
            draw[:] = np.reshape(row.noise, draw.shape)
        scale, tolerance = half_ranges(m.action), max(parity.tolerance for parity in m.parity)
        worst = 0.0
        for row, draw in zip(rows, draws, strict=True):
            error = np.abs(self.infer(row, draw[0]) - proven.infer(row, draw[0])) / scale
            worst = float(np.maximum(worst, error.max()))  # keeps NaN, as max() does not
        if not worst <= tolerance:
            raise ParityError(
                where=f"{where}, native",
                expected=f"ONNX Runtime's actions within {tolerance:g} on unit scale",
                got=f"an error of {worst:g}",
                remedy="serve the file with ONNX Runtime",
            )

    def _replay_golden_rows(self) -> float:
        worst, scale = 0.0, half_ranges(self.manifest.action)
        for row in self.manifest.golden:
            noise = np.reshape(np.array(row.noise, np.float32), self._noise.shape)
            action = self.infer(np.array(row.observation, np.float32), noise)
            error = np.abs(action - np.reshape(row.action, action.shape)) / scale
            worst = max(worst, float(error.max()))
        return worst


def not_for_native(m: Manifest) -> str | None:
    """Return what keeps a policy from the native backend; None without."""
    kinds = {
        "a recurrent policy": m.state_size > 0,
        "one that chooses among candidates": m.sampler is not None and m.sampler.candidates > 1,
        "one with real-time chunking": m.frozen is not None,
        "one without golden rows": not (m.golden and m.parity),
    }
    return next((kind for kind, applies in kinds.items() if applies), None)
