"""The doctor as a whole: what lets a file pass, and how it ends."""

import sys

import pytest

from odeploy_runtime.errors import ContractError, UsageError
from odeploy_runtime.realtime.clock import MonotonicClock
from odeploy_sim.catalogue.fm_irl import HOPPER, WALKER2D
from odeploy_sim.doctor import examine as doctor
from odeploy_sim.doctor.findings import Finding
from odeploy_sim.experts.trained import trained


def finding(severity: str, seen: str = "seen") -> Finding:
    return Finding(severity, "score", "file", seen, "do this")  # type: ignore[arg-type]


def test_notes_and_warnings_let_a_file_pass() -> None:
    doctor.require_sound([finding("note"), finding("warning")], "f.onnx")


def test_the_first_error_is_said_and_the_others_counted() -> None:
    found = [finding("warning"), finding("error", "nothing works"), finding("error")]
    with pytest.raises(ContractError) as refused:
        doctor.require_sound(found, "f.onnx")
    assert str(refused.value) == (
        "f.onnx, score, file (and 1 more): expected a file without errors, got nothing works; do this"
    )


def test_a_file_whose_signals_do_not_fit_is_not_played() -> None:
    path = trained(HOPPER)
    assert path is not None
    seen = doctor.examine(path, WALKER2D, 1, 1, MonotonicClock())
    assert seen.facts == ()
    assert {f.check for f in seen.findings if f.severity == "error"} == {"signals"}


def test_it_asks_for_an_episode_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["doctor", str(trained(HOPPER)), "--task", "hopper", "--episodes", "0"])
    with pytest.raises(UsageError, match="at least one"):
        doctor.main()
