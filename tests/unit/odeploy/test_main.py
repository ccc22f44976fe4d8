"""The console entry point: a user error is one line, a defect keeps its traceback."""

import signal
import subprocess
import sys
import types
from importlib.metadata import version
from pathlib import Path

import pytest

from odeploy import main as front
from odeploy.verbs import GROUPS, VERBS, Verb


def run(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    def main(_arguments: list[str]) -> None:
        raise ModuleNotFoundError(f"No module named '{missing}'", name=missing)

    module = types.ModuleType("fake_verb")
    module.main = main  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fake_verb", module)
    monkeypatch.setattr(front, "VERBS", {"collect": Verb("fake_verb", "sim", "")})
    monkeypatch.setattr(sys, "argv", ["odeploy", "collect"])
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setenv("PYTHONSAFEPATH", "1")  # restored after the test
    front.main()


@pytest.mark.parametrize("missing", ["mujoco", "h5py", "torch._C"])
def test_a_missing_package_is_one_line_with_its_install_command(
    missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as error:
        run(monkeypatch, missing)
    assert error.value.code == 2
    printed = capsys.readouterr().err
    assert printed == f"odeploy collect: the package {missing} is missing; run: pip install 'odeploy[sim]'\n"


def test_a_missing_module_of_odeploy_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModuleNotFoundError):
        run(monkeypatch, "odeploy_sim.tusks")


ARGUMENTS = [["--help"], ["inspect", "--help"], ["keys", "--help"]]


@pytest.mark.fault(35)
@pytest.mark.parametrize("arguments", ARGUMENTS)
@pytest.mark.parametrize("stderr", ["seen", "full too"])
def test_output_to_a_full_device_ends_the_command_with_one_line(arguments: list[str], stderr: str) -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "odeploy", *arguments]
        pipe = subprocess.PIPE if stderr == "seen" else full
        verb = subprocess.run(command, stdout=full, stderr=pipe, text=True, check=False)
    assert verb.returncode == 2
    if verb.stderr is not None:
        command_line = " ".join(["odeploy", *arguments]).removesuffix(" --help")
        (line,) = verb.stderr.splitlines()
        assert line.startswith(f"{command_line}: the output or a file written: expected room, got No space left")


@pytest.mark.parametrize("arguments", ARGUMENTS)
def test_a_reader_that_leaves_early_ends_the_command_quietly(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "odeploy", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as verb:
        assert verb.stdout is not None
        assert verb.stderr is not None
        verb.stdout.close()
        assert verb.stderr.read() == ""
    assert verb.returncode == 128 + signal.SIGPIPE


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["serv"], "got serv; use serve"),
        (["train", "fmr"], "got train fmr; use train fmer"),
        (["demos"], "got demos; use demos show"),
        (["train", "--help"], "got train; use train fm-bc, train bc, train gru-bc"),
        (["zzz\x1b"], "got zzz?; `odeploy --help` lists all"),
    ],
)
def test_unknown_words_are_one_line_with_the_nearest_verbs(
    words: list[str], offered: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["odeploy", *words])
    with pytest.raises(SystemExit) as ended:
        front.main()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"odeploy: expected a verb, {offered}" in line


def test_help_has_every_verb_once_in_its_group(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["odeploy"])
    with pytest.raises(SystemExit) as ended:
        front.main()
    assert ended.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.removesuffix(":") for line in lines if line.endswith(":")] == list(GROUPS)
    assert [line[2:17].strip() for line in lines if line.startswith("  ")] == list(VERBS)


def test_the_version_names_odeploy_and_what_its_numbers_depend_on() -> None:
    command = [sys.executable, "-m", "odeploy", "--version"]
    line = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert line.startswith(f"odeploy {version('odeploy')}")
    for name, package in {"ONNX Runtime": "onnxruntime", "MuJoCo": "mujoco"}.items():
        assert f"{name} {version(package)}" in line
