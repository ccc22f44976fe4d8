"""docs/reference/export.md shows the measured errors, and every type of policy is measured in all forms."""

import json

import pytest

from docs.generate.export_page import FIGURES, PAGE, measured, page
from odeploy_export.kinds.table import kind_of
from odeploy_export.sources.source import Source
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from tests.best_of_n import best_of_n
from tests.policies import flow_policy, recorded, student_policy


def source(policy: object) -> Source:
    return Source(policy, "m", "p", MAZE_MEDIUM, recorded(MAZE_MEDIUM, rows=256), {})


def test_the_committed_page_is_current() -> None:
    assert PAGE.read_text() == page(json.loads(FIGURES.read_text())), (
        "write it again: python -m docs.generate.export_page --page-only"
    )


def test_every_committed_figure_is_within_its_tolerance() -> None:
    for row in json.loads(FIGURES.read_text())["rows"]:
        assert row["max_error"] <= row["tolerance"] == 1e-5


@pytest.mark.parametrize(
    ("policy", "forms"),
    [(flow_policy(MAZE_MEDIUM), 10), (best_of_n(MAZE_MEDIUM), 5), (student_policy(MAZE_MEDIUM), 1)],
    ids=["flow", "best of N", "student"],
)
def test_a_policy_has_a_form_for_each_solver_and_noise(policy: object, forms: int) -> None:
    made = kind_of(policy).published
    assert len(made) == len(set(made)) == forms


def test_a_row_has_policy_provider_error_and_tolerance() -> None:
    (row,) = measured(source(student_policy(MAZE_MEDIUM)), ("cpu",))
    assert (row.policy, row.sampler, row.noise) == ("m", "-", "none")
    assert row.provider == "CPUExecutionProvider"
    text = page({"machine": "here", "rows": [{**row.__dict__, "max_error": 1.26e-6}]})
    assert "| m | - | none | CPU | 1.3e-06 | 1e-05 | 197 |" in text
