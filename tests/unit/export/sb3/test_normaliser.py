"""Normalisers: read from arrays and from pickles, and no pickle is executed."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from odeploy_export.sb3.normaliser import Normaliser, read_normaliser
from odeploy_runtime.errors import ContractError, FormatError, MissingError
from odeploy_sim.catalogue.locomotion import HOPPER
from odeploy_train.experts.sb3_expert import save_normaliser
from tests.policies import recorded
from tests.sb3_models import Spaces, flat_spaces, normalised


@pytest.fixture(scope="module")
def normal() -> VecNormalize:
    return normalised(flat_spaces(HOPPER), HOPPER, clip_obs=4.0, epsilon=1e-3)


def applied(n: Normaliser, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.clip((rows - n.mean) / n.std, -n.clip, n.clip)


def written(normal: VecNormalize, path: Path, form: str) -> Path:
    if form == "npz":
        save_normaliser(path, normal)
    else:
        path.write_bytes(pickle.dumps(normal, protocol=int(form)))
    return path


@pytest.mark.parametrize("form", ["npz", "3", "4", "5"])
def test_every_form_matches_the_library(normal: VecNormalize, tmp_path: Path, form: str) -> None:
    suffix = "npz" if form == "npz" else "pkl"
    read = read_normaliser(written(normal, tmp_path / f"n.{suffix}", form))
    assert read is not None
    rows = np.concatenate([recorded(HOPPER), 30 * recorded(HOPPER)])
    expected = np.asarray(normal.normalize_obs(rows))
    assert np.allclose(applied(read, rows), expected, atol=1e-6)
    assert np.abs(expected).max() == 4.0


def test_numpys_own_scalars_are_read(normal: VecNormalize, tmp_path: Path) -> None:
    state = normal.__getstate__() | {"epsilon": np.float64(0.25), "clip_obs": np.float32(7.5)}
    other = VecNormalize.__new__(VecNormalize)
    other.__dict__.update(state, venv=None, class_attributes={}, returns=None)
    read = read_normaliser(written(other, tmp_path / "n.pkl", "4"))
    assert read is not None
    assert read.clip == 7.5
    assert not isinstance(normal.obs_rms, dict)
    assert np.allclose(read.std**2, normal.obs_rms.var + 0.25)


def test_a_normaliser_without_effect_on_observations_is_none(tmp_path: Path) -> None:
    env = normalised(flat_spaces(HOPPER), HOPPER)
    env.norm_obs = False
    assert read_normaliser(written(env, tmp_path / "n.pkl", "4")) is None


class _Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[Path], object], tuple[Path]]:
        return Path.touch, (self.path,)


def test_a_malicious_pickle_is_refused_and_not_executed(normal: VecNormalize, tmp_path: Path) -> None:
    path, executed = tmp_path / "n.pkl", tmp_path / "executed"
    path.write_bytes(pickle.dumps(_Touch(executed)))
    with pytest.raises(
        FormatError, match=r"got a pickle of pathlib\.\w*Path\.touch|got a pickle of builtins\.getattr"
    ):
        read_normaliser(path)
    assert not executed.exists()
    pickle.loads(path.read_bytes())
    assert executed.exists()  # the pickle itself works


def test_a_malicious_field_of_a_real_normaliser_is_not_executed(tmp_path: Path) -> None:
    env = normalised(flat_spaces(HOPPER), HOPPER)
    executed = tmp_path / "executed"
    env.metadata = {"render_modes": [_Touch(executed)]}
    path = written(env, tmp_path / "n.pkl", "4")
    read = read_normaliser(path)
    assert read is not None
    assert len(read.mean) == 11
    assert not executed.exists()


def test_a_normaliser_of_dictionary_observations_is_refused(tmp_path: Path) -> None:
    box = Box(-1, 1, (3,), np.float32)
    env = VecNormalize(DummyVecEnv([lambda: Spaces(Dict({"hand": box, "goal": box}), box)]))
    with pytest.raises(ContractError, match="dictionary observations with the keys goal, hand"):
        read_normaliser(written(env, tmp_path / "n.pkl", "4"))


def test_invalid_moments_are_refused(normal: VecNormalize, tmp_path: Path) -> None:
    good = {"mean": np.zeros(3), "var": np.ones(3), "epsilon": 1e-8, "clip": 10.0}
    for fault in ({"mean": np.full(3, np.nan)}, {"var": np.ones(4)}, {"clip": 0.0}, {"mean": np.zeros((3, 1))}):
        np.savez(tmp_path / "n.npz", **(good | fault))  # type: ignore[arg-type]
        with pytest.raises(FormatError, match="expected finite mean and variance"):
            read_normaliser(tmp_path / "n.npz")
    np.savez(tmp_path / "n.npz", **(good | {"var": np.array([object()] * 3)}))  # type: ignore[arg-type]
    with pytest.raises(FormatError, match="does not read"):
        read_normaliser(tmp_path / "n.npz")


@pytest.mark.parametrize("suffix", ["npz", "pkl"])
def test_a_damaged_or_missing_file_is_refused(normal: VecNormalize, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"n.{suffix}"
    with pytest.raises(MissingError, match="No such file"):
        read_normaliser(path)
    data = written(normal, path, "npz" if suffix == "npz" else "4").read_bytes()
    for damaged in (data[:300], b"", b"plain text\n"):
        path.write_bytes(damaged)
        with pytest.raises(FormatError, match="a file that does not read"):
            read_normaliser(path)


def test_another_pickled_object_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "n.pkl"
    path.write_bytes(pickle.dumps(Box(-1, 1, (3,), np.float32)))
    with pytest.raises(FormatError, match=r"got a pickle of gymnasium\.spaces\.box\.Box"):
        read_normaliser(path)
    path.write_bytes(pickle.dumps({"obs_rms": 1}))
    with pytest.raises(FormatError, match="got a pickle of dict"):
        read_normaliser(path)
