"""A server as a child process."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from odeploy_runtime.realtime import serving as module
from odeploy_runtime.realtime.serving import serving


def test_a_server_started_as_a_child_logs_in_its_parents_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []

    @contextlib.contextmanager
    def child(command: list[str], _log: Path) -> Iterator[None]:
        started.append(command)
        yield

    monkeypatch.setattr(module, "child", child)
    monkeypatch.setattr(module, "wait_bound", lambda *_: None)
    for configured, expected in (
        (None, ["text", "info"]),
        ('{"log_format": "json", "log_level": "error"}', ["json", "error"]),
    ):
        monkeypatch.setenv("ODEPLOY_LOG", configured) if configured else monkeypatch.delenv(
            "ODEPLOY_LOG", raising=False
        )
        with serving(tmp_path / "p.onnx", ["--provider", "cpu"]) as endpoint:
            assert endpoint.startswith("ipc://")
        command = started.pop()
        options = command[command.index("serve") :]
        assert options[:3] == ["serve", str(tmp_path / "p.onnx"), "--endpoint"]
        assert options[4:] == ["--log-format", expected[0], "--log-level", expected[1], "--provider", "cpu"]
