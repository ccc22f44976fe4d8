"""docs/reference/tasks.md shows the catalogue and the measured scores."""

import json

from docs.generate.tasks_page import PAGE, SCORES, page
from odeploy_runtime.policy_file.file import read
from odeploy_sim.catalogue import TASKS, get
from odeploy_sim.experts import EXPERTS
from odeploy_sim.experts.trained import trained


def test_the_committed_page_is_current() -> None:
    assert PAGE.read_text() == page(json.loads(SCORES.read_text())["tasks"]), (
        "write it again: python -m docs.generate.tasks_page"
    )


def test_every_expert_has_a_measured_score_of_its_current_file() -> None:
    scores = json.loads(SCORES.read_text())["tasks"]
    for name in {**TASKS, **EXPERTS}:
        file = trained(get(name))
        if name in EXPERTS or file:
            assert scores[name]["episodes"] + scores[name]["invalid"] >= 100
            assert scores[name]["expert_kind"] == ("scripted" if name in EXPERTS else "policy")
        if file and name not in EXPERTS:
            assert scores[name]["fingerprint"] == read(file).fingerprint


def test_a_task_without_a_score_has_dashes_and_every_signal_is_on_the_page() -> None:
    text = page({})
    for task in TASKS.values():
        row = next(line for line in text.splitlines() if line.startswith(f"| [{task.name}]"))
        assert row.endswith("| – | – | – |")
        assert all(f"`{name}`" in text for name in (*task.observation_names, *task.action_names))
