"""docs/reference/verbs.md lists the table of verbs."""

from docs.generate.verbs_page import PAGE, page
from odeploy.verbs import VERBS


def test_the_committed_page_is_current() -> None:
    assert PAGE.read_text() == page(), "write it again: python -m docs.generate.verbs_page"


def test_every_verb_has_a_row() -> None:
    rows = page().splitlines()
    for verb, (_, _, what) in VERBS.items():
        assert any(row.startswith(f"| `{verb}` | {what} |") for row in rows)
