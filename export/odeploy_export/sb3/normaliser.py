"""Observation normaliser of another library's policy.

It is our `.npz`, or stable-baselines3's `vecnormalize.pkl`. A pickle is a program. It is read without running any
of it: every class and function that it names, numpy's included, becomes an inert record of its arguments and
state. The few arrays that matter are then rebuilt from their recorded bytes.
"""

import io
import math
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.errors import ContractError, FormatError, OdeployError
from odeploy_runtime.regular_file import read_data

BESIDE = ("normaliser.npz", "vecnormalize.pkl", "vec_normalize.pkl")
"""File names next to a policy: ours, rl-baselines3-zoo's, the model hub's."""


@dataclass(frozen=True)
class Normaliser:
    """Normaliser clip((observation - mean) / std, -clip, clip).

    Attributes:
        mean: Shape (O,).
        std: all positive. Shape (O,).
        clip: positive; infinite for no clip.
    """

    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    clip: float = math.inf


def read_normaliser(path: Path) -> Normaliser | None:
    """Read a normaliser; return None if the file leaves observations unchanged.

    Raises:
        MissingError: no such file.
        FormatError: a damaged file or another format.
        ContractError: a normaliser of dictionary observations.
    """
    content = read_data(
        path,
        "a normaliser: normaliser.npz or stable-baselines3's vecnormalize.pkl",
        "give the path of the file that was saved with the policy",
    )
    try:
        normaliser = _from_npz(content) if path.suffix == ".npz" else _from_pickle(content, path)
    except OdeployError:
        raise
    except Exception as error:  # noqa: BLE001 - a damaged pickle or zip raises almost anything
        reason = str(error).splitlines()[0][:100] if str(error) else ""
        raise _not_one(path, f"a file that does not read ({type(error).__name__}: {reason})") from None
    if normaliser is None:
        return None
    mean, std = normaliser.mean, normaliser.std
    numbers = np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all() and normaliser.clip > 0
    if mean.ndim != 1 or mean.shape != std.shape or not numbers:
        raise _not_one(path, f"mean {mean.shape}, variance {std.shape}, or numbers that are not finite")
    return normaliser


def _not_one(path: Path, got: str) -> FormatError:
    return FormatError(
        where=str(path),
        expected="finite mean and variance of the observations, epsilon and clip",
        got=got,
        remedy="save the normaliser again with VecNormalize.save",
    )


def _from_npz(content: bytes) -> Normaliser:
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        mean, var = (np.asarray(arrays[name], np.float64) for name in ("mean", "var"))
        epsilon, clip = (float(arrays[name]) for name in ("epsilon", "clip"))
    return Normaliser(mean, np.sqrt(var + epsilon), clip)


def _from_pickle(content: bytes, path: Path) -> Normaliser | None:
    top = _Reader(io.BytesIO(content)).load()
    if not isinstance(top, _Inert) or not top.is_a("VecNormalize"):
        raise _not_one(path, f"a pickle of {top.name if isinstance(top, _Inert) else type(top).__name__}")
    if not top.state.get("norm_obs", True):
        return None
    moments = top.state["obs_rms"]
    if isinstance(moments, dict):
        raise ContractError(
            where=str(path),
            expected="a normaliser of flat observations",
            got=f"one of dictionary observations with the keys {', '.join(map(str, moments))}",
            remedy="train on the flat observation: odeploy_sim.tasks.gym_env.FlatEnv gives it",
        )
    mean, var = (_array(moments.state[name]) for name in ("mean", "var"))
    epsilon, clip = (float(_array(top.state[name])) for name in ("epsilon", "clip_obs"))
    return Normaliser(mean, np.sqrt(var + epsilon), clip)


class _Inert:
    """Inert stand-in for any foreign class, function or object; it only records."""

    name = ""
    args: tuple[Any, ...]
    state: Any

    def __new__(cls, *args: Any, **_: Any) -> "_Inert":
        record = super().__new__(cls)
        record.args, record.state = args, None
        return record

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        """Ignore items of foreign mappings."""

    def append(self, item: Any) -> None:
        """Ignore items of foreign lists."""

    def extend(self, items: Any) -> None:
        """Ignore items of foreign lists."""

    def is_a(self, name: str) -> bool:
        """Return whether it has this name in the pickle, in any module.

        Numpy and others move theirs.
        """
        return self.name.rpartition(".")[2] == name


class _Reader(pickle.Unpickler):
    """Unpickler that never imports: a global of any name is a new inert class."""

    def find_class(self, module: str, name: str) -> type[_Inert]:
        return type("_Inert", (_Inert,), {"name": f"{module}.{name}"})


def _array(recorded: Any) -> NDArray[np.float64]:
    """Return a number or a float array, in either of numpy's two pickled forms."""
    if isinstance(recorded, int | float):
        return np.asarray(recorded, np.float64)
    if recorded.is_a("scalar"):
        dtype, data = recorded.args
        return _floats(data, dtype)[0]  # type: ignore[no-any-return]
    if recorded.is_a("_frombuffer"):
        data, dtype, shape, _ = recorded.args
    else:
        _, shape, dtype, _, data = recorded.state
    return _floats(data, dtype).reshape(shape)


def _floats(data: Any, dtype: _Inert) -> NDArray[np.float64]:
    """Return bytes as numbers.

    A recorded dtype has type and size as argument, byte order in its state.
    """
    order = dtype.state[1]
    if dtype.args[0] not in ("f4", "f8") or order not in ("<", ">"):
        raise ValueError(f"numbers of type {order}{dtype.args[0]}")
    return np.frombuffer(bytes(data), order + dtype.args[0]).astype(np.float64)
