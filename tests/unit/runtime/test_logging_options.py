"""The log: lines with time and level, or JSON; safe for a terminal; no output in a library."""

import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Literal

import pytest

from odeploy_runtime.errors import FormatError
from odeploy_runtime.logging_options import LogOptions, configure, inherited

LOG = logging.getLogger("odeploy_runtime.server.sessions")


@pytest.fixture(autouse=True)
def _no_handlers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setenv("ODEPLOY_LOG", "")  # restored after the test
    monkeypatch.delenv("ODEPLOY_LOG")
    level = root.level
    yield
    root.setLevel(level)


def test_a_text_line_is_time_level_and_message(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogOptions())
    LOG.warning("%r freed: %s", "arm", "γ", extra={"robot": "arm"})
    written = capsys.readouterr()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} WARNING 'arm' freed: γ\n", written.err)
    assert written.out == ""


def test_a_json_line_is_one_object_with_the_extra_fields(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogOptions(log_format="json"))
    LOG.info("%r\n\x1b[2J", "γ", extra={"robot": "γ", "rate_hz": 50.0, "_library": 1})
    line = capsys.readouterr().err
    assert line.endswith("}\n")
    assert line.count("\n") == 1
    assert line[:-1].isprintable()
    fields = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", fields.pop("time"))
    assert fields == {
        "level": "info",
        "logger": "odeploy_runtime.server.sessions",
        "message": "'γ'\n\x1b[2J",
        "robot": "γ",
        "rate_hz": 50.0,
    }


def test_an_exception_keeps_its_traceback_in_both_formats(capsys: pytest.CaptureFixture[str]) -> None:
    for log_format in ("text", "json"):
        configure(LogOptions(log_format=log_format))
        try:
            raise ValueError("boom")
        except ValueError:
            LOG.exception("failed")
    text, structured = capsys.readouterr().err.rsplit("\n", 2)[:2]
    assert "failed\nTraceback (most recent call last):" in text
    assert json.loads(structured)["exception"].endswith("ValueError: boom")


@pytest.mark.parametrize("text", ["\x1b[2J", "\x07", "a\nb", "\x9b31m", "\u202e"])
def test_terminal_control_characters_are_escaped(capsys: pytest.CaptureFixture[str], text: str) -> None:
    configure(LogOptions())
    LOG.info("%s", text)
    assert capsys.readouterr().err[:-1].isprintable()


@pytest.mark.parametrize(("level", "count"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_lines_below_the_level_are_not_logged(
    capsys: pytest.CaptureFixture[str], level: Literal["debug", "info", "warning", "error"], count: int
) -> None:
    configure(LogOptions(log_level=level))
    for write in (LOG.debug, LOG.info, LOG.warning, LOG.error):
        write("line")
    assert capsys.readouterr().err.count("line") == count


def test_other_libraries_log_from_level_warning_on(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogOptions(log_level="debug"))
    logging.getLogger("matplotlib").info("chatter")
    logging.getLogger("matplotlib").warning("serious")
    assert "chatter" not in (written := capsys.readouterr().err)
    assert "serious" in written


def test_a_child_process_logs_like_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    assert inherited() == LogOptions()
    configure(options := LogOptions(log_format="json", log_level="error"))
    code = "from odeploy_runtime.logging_options import inherited; print(inherited())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{options}\n"
    monkeypatch.setenv("ODEPLOY_LOG", '{"log_format": "xml"}')
    with pytest.raises(FormatError, match="ODEPLOY_LOG"):
        inherited()


def test_a_library_prints_nothing() -> None:
    code = "import logging, odeploy_runtime; logging.getLogger('odeploy_runtime.server.loop').error('line')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
