"""`odeploy export`: the options of each source, and the printed log."""

import logging
from pathlib import Path

import pytest

from odeploy_export.cli.export import Config, main, read_source
from odeploy_runtime.errors import UsageError
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from tests.best_of_n import run_folder
from tests.policies import flow_policy

GIVEN = {"task": "hopper", "weights": Path("w.pt"), "noise_size": 3, "normaliser": Path("n.npz"), "frozen": 1}
GIVEN |= {"recipe": Path("r.toml"), "solver": "heun", "steps": 3, "t_grid": "0,1", "candidates": 4}
ELSEWHERE = [
    ("run", "recipe", "--from module, torchscript or onnx"),
    ("sb3", "steps", "--from run"),
    ("sb3", "frozen", "--from run"),
    ("onnx", "noise_size", "--from module or torchscript"),
    ("onnx", "weights", "--from module"),
    ("module", "normaliser", "--from sb3"),
    ("module", "candidates", "--from run"),
    ("torchscript", "t_grid", "--from run"),
]


@pytest.mark.parametrize(("source", "option", "expected"), ELSEWHERE)
def test_an_option_of_another_source_is_refused_before_any_file_is_read(
    source: str, option: str, expected: str, tmp_path: Path
) -> None:
    config = Config(tmp_path / "none", tmp_path / "p.onnx", source, **{option: GIVEN[option]})  # type: ignore[arg-type]
    name = option.replace("_", "-")
    with pytest.raises(
        UsageError, match=f"^--{name}: expected {expected}, got --from {source}; leave the option out"
    ):
        read_source(config)


@pytest.mark.parametrize("source", ["sb3", "module", "torchscript", "onnx"])
def test_an_external_model_without_a_task_is_refused(source: str, tmp_path: Path) -> None:
    config = Config(tmp_path / "none", tmp_path / "p.onnx", source)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=f"^--from {source}: expected --task"):
        read_source(config)


def test_the_log_is_printed_once_and_its_settings_are_restored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, log = (
        run_folder(tmp_path / "run", MAZE_MEDIUM, flow_policy(MAZE_MEDIUM)),
        logging.getLogger("odeploy_export"),
    )
    before = log.level, list(log.handlers)
    for _ in range(2):
        main([str(run), "--steps", "2", "--out", str(tmp_path / "p.onnx")])
        lines = capsys.readouterr().out.splitlines()
        assert [line.partition(":")[0] for line in lines] == ["played for the parity check", "parity", "policy"]
    assert (log.level, list(log.handlers)) == before
