"""Texts use the field's words: the list below holds the ones that made earlier texts hard to read."""

import ast
import re
from pathlib import Path

import pytest

from tests.house.layout import PAGES, ROOT, modules, texts

INSTEAD = {
    r"whoever|whomever|somebody|nobody": "another process, the operator, the user; or the passive",
    r"knocks?|knocked|knocking": "connects",
    r"learnt": "learned",
    r"likewise": "also",
    r"for ever": "forever",
    r"outside of": "outside",
    r"(?-i:is none)": "is NaN; is absent; returns None",
    r"strangers?": "out of range",
    r"couriers?": "I/O process",
    r"rehears\w*": "pre-touch run",
    r"doorkeepers?": "authenticator",
    r"whereof|shall|hitherto|whereupon|thereof": "the present tense",
    r"mend|mends|mended|mending": "fix",
}
"""Pattern of whole words -> what to write in its place."""
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)


def found(text: str) -> list[str]:
    """Return what a text should not say, code in backticks left out."""
    plain = _CODE.sub(lambda match: "\n" * match[0].count("\n"), text)
    return [
        f"'{match[0]}' (write: {better})"
        for words, better in INSTEAD.items()
        for match in re.finditer(rf"\b(?:{words})\b", plain, re.IGNORECASE)
    ]


FOLDERS = sorted({file.parent for file in [*modules(), *PAGES]})


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_texts_use_the_fields_words(folder: Path) -> None:
    problems = [
        f"{file.name}:{line}: {problem}"
        for file in [*modules(), *PAGES]
        if file.parent == folder
        for line, text in texts(file)
        for problem in found(text)
    ]
    assert not problems, "\n".join(problems)


def test_words_are_found_whole_and_not_in_code() -> None:
    assert found("Nobody is there, for ever.") == [
        f"'Nobody' (write: {INSTEAD['whoever|whomever|somebody|nobody']})",
        "'for ever' (write: forever)",
    ]
    assert found("it is None, recommended, marshalling, `--no-courier`, ```\nshall\n```") == []


def test_comments_docstrings_and_messages_are_read(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text('"""Doc string."""\nx = 1  # a comment\nname = "identifier"\nprint(f"value {x} of it")\n')
    assert sorted(texts(file)) == [(1, "Doc string."), (2, "# a comment"), (4, " of it"), (4, "value ")]


def test_first_lines_of_docstrings_are_short() -> None:
    """A list of modules or functions shows first lines alone, in 80 columns."""
    long = [
        f"{file.relative_to(ROOT)}:{node.body[0].lineno}: {first}"
        for file in modules()
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        for first in (ast.get_docstring(node) or "").split("\n")[:1]
        if len(first) > 80
    ]
    assert long == []
