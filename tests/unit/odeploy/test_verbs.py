"""The table of verbs: every entry exists and names extras of the distribution."""

import importlib
import importlib.util
import re
import tomllib
from pathlib import Path

import pytest

from odeploy.verbs import VERBS

ROOT = Path(__file__).parents[3]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_module_a_function_and_known_extras(verb: str) -> None:
    module, _, function = VERBS[verb].module.partition(":")
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    assert f"\ndef {function or 'main'}(" in Path(spec.origin).read_text()
    assert set(VERBS[verb].extra.split(",")) <= set(EXTRAS)


def test_summaries_are_one_short_line_without_a_full_stop() -> None:
    for verb in VERBS.values():
        assert len(verb.summary) <= 80
        assert not verb.summary.endswith(".")
        assert "\n" not in verb.summary


NAMES_TASKS = [
    verb
    for verb in VERBS
    if verb in ("tasks", "collect", "demos show", "score", "export", "samplers", "verify", "sim", "bench", "film")
    or verb.startswith("train ")
]


@pytest.mark.parametrize("verb", NAMES_TASKS)
def test_every_verb_that_names_a_task_explains_the_same_references(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    module, _, function = VERBS[verb].module.partition(":")
    with pytest.raises(SystemExit):
        getattr(importlib.import_module(module), function or "main")(["--help"])
    words = re.sub(r"[│\s]+", " ", capsys.readouterr().out)
    assert "file.py:NAME, file.toml, gym:ID or module:NAME" in words
