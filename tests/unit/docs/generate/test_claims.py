"""Verdicts on the papers' claims follow from figures by fixed rules."""

import json
from pathlib import Path
from typing import Any

import pytest

from docs.generate import claims
from docs.generate.claims import Comparison, Verdict, compared, judged, overall, published, read_claims
from odeploy_train.sweeps.aggregate import Aggregate


def over(low: float, value: float, high: float, seeds: int = 3) -> Aggregate:
    return Aggregate(value, low, high, seeds)


def comparison(**more: Any) -> Comparison:
    return Comparison(**{"task": "hopper", "ours": "A", "against": "B", "results": "r"} | more)


@pytest.mark.parametrize(
    ("ours", "against", "verdict"),
    [
        (over(5, 6, 7), over(1, 2, 3), "shown"),
        (over(1, 2, 3), over(5, 6, 7), "contradicted"),
        (over(5, 6, 7, seeds=2), over(1, 2, 3), "weak"),
        (over(1, 2, 3), over(5, 6, 7, seeds=1), "weak, against"),
        (over(1, 4, 7), over(2, 3, 5), "weak"),
        (over(2, 3, 5), over(1, 4, 7), "weak, against"),
        (over(3, 4, 5), over(1, 2, 3), "weak"),  # intervals that touch are not separate
    ],
)
def test_separate_intervals_of_three_seeds_decide(ours: Aggregate, against: Aggregate, verdict: Verdict) -> None:
    assert judged(comparison(), ours, against) == verdict


def test_level_is_shown_by_overlap_and_a_factor_by_values() -> None:
    behind = over(2, 3, 5), over(1, 4, 7)
    assert judged(comparison(level_with=True), *behind) == "shown"
    assert judged(comparison(level_with=True), over(1, 2, 3), over(5, 6, 7)) == "contradicted"
    assert judged(comparison(factor=0.7), *behind) == "shown"
    assert judged(comparison(factor=0.9), *behind) == "weak, against"


def test_fewer_steps_and_times_are_better() -> None:
    fast, slow = over(1, 2, 3), over(5, 6, 7)
    for fewer in (comparison(column="steps"), comparison(fewer=True)):
        assert (judged(fewer, fast, slow), judged(fewer, slow, fast)) == ("shown", "contradicted")
    assert judged(comparison(fewer=True, factor=0.5), fast, slow) == "shown"  # 2 of at most 3
    assert judged(comparison(fewer=True, factor=0.25), fast, slow) == "weak, against"  # of at most 1.5


@pytest.mark.parametrize(
    ("verdicts", "verdict"),
    [
        ((), "not run"),
        (("not run",), "not run"),
        (("shown", "not run"), "shown"),
        (("shown", "weak"), "weak"),
        (("contradicted", "shown"), "weak"),
        (("contradicted", "weak", "weak"), "contradicted"),
        (("weak, against", "weak, against", "weak"), "weak, against"),
    ],
)
def test_a_claims_verdict_follows_from_those_on_its_comparisons(
    verdicts: tuple[Verdict, ...], verdict: Verdict
) -> None:
    assert overall(verdicts) == verdict


def test_figures_are_of_the_newest_version_over_all_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def line(method: str, seed: int, value: float, **more: Any) -> dict[str, Any]:
        score = {"value": value, "low": value - 1, "high": value + 1}
        curve = {"steps": [1000, 2000], "scores": [value / 2, value], "wall_s": [1.0, 2.0]}
        run = {"task": "hopper", "method": method, "verb": "ppo", "seed": seed, "options": {}}
        return run | {"scores": {"1": score}, "curve": curve} | more

    old = [line("A", seed, 1.0) for seed in range(3)]
    new = [line("A", seed, 8.0, version=2) for seed in range(3)] + [line("B", seed, 4.0) for seed in range(3)]
    (tmp_path / "r.jsonl").write_text("\n".join(map(json.dumps, [*old, *new])))
    monkeypatch.setattr(claims, "RESULTS", tmp_path)
    made = compared(comparison())
    assert made.ours is not None
    assert made.against is not None
    assert (made.ours.over, made.ours.outdated) == (over(8, 8, 8), False)
    assert (made.against.over.value, made.against.outdated) == (4.0, True)
    assert made.verdict == "shown"
    assert compared(comparison(column="steps", level="4")).verdict == "shown"  # at 1000 steps, and at 2000
    assert compared(comparison(against="C")).verdict == "not run"
    assert compared(comparison(results="none")).verdict == "not run"
    assert compared(comparison(value=9.0)).verdict == "contradicted"


def test_figures_of_the_papers_stand_beside_scores_at_the_training_level_alone() -> None:
    of_hopper = comparison(ours="FM-IRL", against="GAIL")
    assert published(of_hopper) == "3359 / 2922"
    assert published(comparison(ours="FM-IRL", against="GAIL", level="2")) == ""
    assert published(comparison(ours="FM-IRL", against="GAIL", column="steps")) == ""


def test_every_result_that_a_claim_names_by_file_has_its_methods() -> None:
    """A claim that names a method wrongly would read `not run` for ever."""
    wrong = []
    for claim in read_claims():
        for each in claim.comparisons:
            methods = {line["method"] for line in claims._lines(each.results, each.task)}
            if each.results.startswith(("goals/", "samplers/")) and not {each.ours, each.against} <= methods:
                wrong.append((claim.claim, each))
            if each.cell and compared(each).verdict == "not run":
                wrong.append((claim.claim, each))
    assert wrong == []
