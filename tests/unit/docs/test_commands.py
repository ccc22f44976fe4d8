"""Every command in the pages exists, with its options."""

import contextlib
import functools
import importlib
import io
import re
import shlex
from pathlib import Path

import pytest

from odeploy.verbs import VERBS
from tests.unit.docs.test_links import PAGES

_BLOCK = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(odeploy [^`]*[^`\s])`")
_OPTION = re.compile(r"^(?:│ |  )(-\S[^│\n]*)", re.MULTILINE)


def commands(text: str) -> list[str]:
    """Return the odeploy commands of a page: lines of code blocks, with their continuations, and inline code."""
    lines = [line for block in _BLOCK.findall(text) for line in block.replace("\\\n", " ").splitlines()]
    found = [line.strip().removeprefix("$ ") for line in lines] + _INLINE.findall(_BLOCK.sub("", text))
    return [
        re.split(r" +(?:#|\||&|>|&&) ?|…", command)[0].strip()
        for command in found
        if command.startswith("odeploy ")
    ]


@functools.cache
def options(verb: str) -> set[str]:
    """Return the names of a verb's options, from its help."""
    module, _, function = VERBS[verb].module.partition(":")
    with contextlib.redirect_stdout(io.StringIO()) as shown, pytest.raises(SystemExit):
        getattr(importlib.import_module(module), function or "main")(["--help"])
    return {name for line in _OPTION.findall(shown.getvalue()) for name in re.findall(r"(?<!\S)--?[\w-]+", line)}


def problems(command: str) -> list[str]:
    """Return what a command names that does not exist."""
    words = shlex.split(command)[1:]
    verb = next((v for v in (" ".join(words[:2]), *words[:1]) if v in VERBS), None)
    if verb is None:
        named = words[1] if words[0] == "train" and words[1:] else words[0]
        return [] if named.isupper() or named in ("-h", "--help") else [f"{command}: no such verb"]
    given = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    return [f"{command}: no option {name}" for name in sorted(given - options(verb))]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_command_exists_with_its_options(page: Path) -> None:
    assert [problem for command in commands(page.read_text()) for problem in problems(command)] == []


def test_commands_are_found_with_their_continuations_and_without_comments() -> None:
    text = "Run `odeploy health ENDPOINT`.\n```\nodeploy serve p.onnx \\\n    --rate 5  # a comment\nls\n```\n"
    assert commands(text) == ["odeploy serve p.onnx      --rate 5", "odeploy health ENDPOINT"]


def test_a_wrong_verb_and_a_wrong_option_are_found() -> None:
    assert problems("odeploy serv p.onnx") == ["odeploy serv p.onnx: no such verb"]
    assert problems("odeploy health --rate 5") == ["odeploy health --rate 5: no option --rate"]
    assert problems("odeploy train METHOD --task hopper") == []
