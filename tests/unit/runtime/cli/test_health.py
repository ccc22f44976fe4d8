"""A server's health as a table and as an exit status."""

import io

import pytest
from hypothesis import example, given

from odeploy_runtime.cli.health import main, table
from odeploy_runtime.errors import UsageError
from odeploy_runtime.reports.terminal import Terminal
from odeploy_runtime.transport import messages
from tests.hostile_text import CLEARS_SCREEN, CLOSES_TAG, TEXTS, assert_harmless
from tests.unit.runtime.fakes import floats

S = 1_000_000_000
BEFORE = messages.Health(
    1, 1, "teacher", "a" * 64, 1, 10 * S, 2, 1000, 3, 4, 5, 6, 1_000_000, ["a" * 64], ["x", "y"]
)
NOW = BEFORE._replace(up_ns=12 * S, actions=1400, inference_ns=21_000_000)
SHADOWED = NOW._replace(
    policy_epoch=2,
    fingerprints=["b" * 64, "a" * 64],
    shadow="c" * 64,
    shadow_compared=100,
    shadow_dropped=7,
    shadow_mean=floats(0.5, 0.25),
    shadow_max=floats(1.0, 2.0),
)


def printed(before: messages.Health, now: messages.Health) -> str:
    console = Terminal(width=200, file=io.StringIO())
    console.print(table("ipc:///a", before, now))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_table_shows_policy_rates_drops_refusals_and_misses() -> None:
    text = printed(BEFORE, NOW)
    for row in ("ready", "teacher", "a" * 64, "1,400 (200.0 a second)", "50 µs"):
        assert row in text
    for name, count in (("an error", 3), ("rate cap", 4), ("robots refused", 5), ("stream ticks missed", 6)):
        (line,) = (line for line in text.splitlines() if name in line)
        assert f" {count} " in line
    assert "shadow" not in text
    assert "NOT READY" in printed(BEFORE, NOW._replace(ready=0))


def test_the_table_shows_earlier_policies_and_the_shadows_divergence() -> None:
    text = printed(BEFORE, SHADOWED)
    assert "epoch 1" in text
    assert "b" * 64 in text
    assert "mean 5.00e-01, max 1.00e+00" in text
    assert "100 / 7" in text


@pytest.mark.fault(34)
@given(TEXTS)
@example(CLEARS_SCREEN)
@example(CLOSES_TAG)
def test_no_text_of_a_server_controls_the_terminal(text: str) -> None:
    hostile = SHADOWED._replace(
        policy=text, fingerprint=text, fingerprints=[text, text], signals=[f"x{text}", text], shadow=f"s{text}"
    )
    assert_harmless(printed(BEFORE, hostile))


def test_an_absent_server_is_reported_in_one_line_with_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["ipc:///tmp/odeploy-absent.ipc", "--timeout", "0.05"])
    assert raised.value.code == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "expected its health within 0.05 s, got none" in error


@pytest.mark.parametrize("arguments", [["--key", "k"], ["--timeout", "0"], ["--over", "-1"]])
def test_invalid_options_are_refused(arguments: list[str]) -> None:
    with pytest.raises(UsageError):
        main(arguments)
