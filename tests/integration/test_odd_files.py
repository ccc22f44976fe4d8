"""A FILE that is a pipe, a device, a folder or far too large: one line at once, whichever verb gets it."""

import os
from pathlib import Path

import pytest

from odeploy_runtime.errors import OdeployError
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from tests.integration.programs import in_process
from tests.policies import policy_path

VERBS = {
    "serve": ("serve", "{}"),
    "serve --key": ("serve", "{good}", "--key", "{}", "--allow", "{folder}"),
    "inspect": ("inspect", "{}"),
    "verify": ("verify", "{}"),
    "diff": ("diff", "{}", "{}"),
    "swap": ("swap", "{}"),
    "bench": ("bench", "{}", "--task", "maze-medium"),
    "score": ("score", "maze-medium", "--policy", "{}"),
    "sim --policy": ("sim", "maze-medium", "--policy", "{}"),
    "replay": ("replay", "{}", "--policy", "{good}"),
    "replay --policy": ("replay", "{}", "--policy", "{}"),
    "film": ("film", "{}", "--out", "{folder}/f.mp4"),
    "report": ("report", "{}"),
    "export": ("export", "{}", "--out", "{folder}/p.onnx"),
    "export --from onnx": ("export", "{}", "--from", "onnx", "--task", "maze-medium", "--out", "{folder}/p.onnx"),
    "train --demos": ("train", "bc", "--task", "maze-medium", "--demos", "{}", "--out", "{folder}/run"),
    "sweep": ("sweep", "{}"),
}


@pytest.fixture(params=["a pipe", "a device", "a folder", "a sparse file"])
def odd(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "odd"
    if request.param == "a pipe":
        os.mkfifo(path)
    elif request.param == "a folder":
        path.mkdir()
    elif request.param == "a sparse file":
        with path.open("wb") as file:
            file.truncate(100_000_000_000)
    return path if request.param != "a device" else Path("/dev/zero")


@pytest.mark.fault(36)
@pytest.mark.parametrize("verb", VERBS)
def test_a_file_that_is_none_is_refused_in_one_line(
    verb: str, odd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = policy_path(tmp_path, MAZE_MEDIUM)
    places = {"good": str(good), "folder": str(tmp_path)}
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OdeployError) as raised:
        in_process(*(word.format(str(odd), str(odd), **places) for word in VERBS[verb]))
    assert str(odd) in str(raised.value) or "odd" in str(raised.value)
    assert "\n" not in str(raised.value)
