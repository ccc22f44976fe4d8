"""`odeploy inspect`: a policy file's contents, also of a hostile one, printed as they are."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings

from odeploy_runtime.cli.inspect import main
from tests.hostile_text import CLEARS_SCREEN, CLOSES_TAG, TEXTS, assert_harmless, with_texts
from tests.unit.runtime.fakes import manifest
from tests.unit.runtime.models import policy_bytes


def inspected(text: str, path: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """Inspect a file with `text` appended to every text of its manifest; return what is printed."""
    path.write_bytes(policy_bytes(with_texts(manifest(), text)))
    capsys.readouterr()
    main([str(path), *options])
    return capsys.readouterr().out


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "p.onnx"


@pytest.mark.fault(34)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(TEXTS)
@example(CLEARS_SCREEN)
@example(CLOSES_TAG)
def test_no_text_of_a_manifest_controls_the_terminal(
    file: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    assert_harmless(inspected(text, file, capsys))
    printed = inspected(text, file, capsys, "--json")
    assert_harmless(printed)
    assert json.loads(printed)["name"] == f"teacher{text}"


def test_a_tag_in_a_name_is_printed_as_part_of_it(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = inspected(CLOSES_TAG, file, capsys)
    assert printed.startswith("teacher[/red]: fm-bc[/red] (flow) for maze-medium[/red] at 100 Hz, ")
    assert " motor_x[/red] " in printed
