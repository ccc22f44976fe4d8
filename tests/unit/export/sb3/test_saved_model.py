"""Saved models: read completely or refused in one line, and no code in them is executed."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from odeploy_export.sb3.saved_model import read_zip
from odeploy_runtime.errors import FormatError, MissingError
from odeploy_sim.catalogue.locomotion import HOPPER
from tests.sb3_models import flat_spaces, model, saved


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("model") / "m.zip"
    return saved(model("ppo", flat_spaces(HOPPER)), path).read_bytes()


def rewritten(zipped: bytes, **members: bytes | None) -> bytes:
    """Return the zip with members (`_` for `.`) replaced or left out."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(zipped)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            content = members.get(name.replace(".", "_"), old.read(name))
            if content is not None:
                new.writestr(name, content)
    return out.getvalue()


def test_fields_tensors_hash_and_versions_are_read(good: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.zip").write_bytes(good)
    read = read_zip(tmp_path / "m.zip")
    assert read.fields["seed"] == 5
    assert read.tensors["action_net.weight"].shape == (3, 24)
    assert len(read.hash) == 64
    assert {"python", "stable-baselines3", "pytorch", "numpy"} <= set(read.versions)
    assert "os" not in read.versions
    assert read.parts("action_space")["_shape"] == [3]
    assert read.parts("seed") == read.parts("no such field") == {}


class _Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[Path], object], tuple[Path]]:
        return Path.touch, (self.path,)


def test_pickled_weights_are_refused_and_not_executed(good: bytes, tmp_path: Path) -> None:
    bomb = io.BytesIO()
    torch.save({"action_net.weight": _Touch(tmp_path / "executed")}, bomb)
    (tmp_path / "m.zip").write_bytes(rewritten(good, policy_pth=bomb.getvalue()))
    with pytest.raises(FormatError, match="does not load"):
        read_zip(tmp_path / "m.zip")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data.replace(b'"n_steps": 2048', b'"n_steps": 4096'),  # its checksum no longer fits
        lambda data: b"",
        lambda data: rewritten(data, data=b"{"),
        lambda data: rewritten(data, data=json.dumps([1]).encode()),
        lambda data: rewritten(data, data=None),
        lambda data: rewritten(data, policy_pth=None),
        lambda data: rewritten(data, policy_pth=b"not torch"),
    ],
    ids=["cut", "altered", "empty", "half JSON", "a list", "no data", "no weights", "other weights"],
)
def test_a_damaged_zip_is_refused(good: bytes, tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    (tmp_path / "m.zip").write_bytes(spoil(good))
    with pytest.raises(
        FormatError, match=r"m\.zip: expected a model that stable-baselines3 saved.*save the model"
    ):
        read_zip(tmp_path / "m.zip")


def test_a_zip_without_a_system_report_is_read(good: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.zip").write_bytes(rewritten(good, system_info_txt=None))
    assert read_zip(tmp_path / "m.zip").versions == {}


def test_a_missing_zip_is_a_missing_error(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="No such file"):
        read_zip(tmp_path / "none.zip")
