from pathlib import Path

import pytest
from torch.utils.tensorboard import SummaryWriter

from odeploy_train.runs.learning_curve import LearningCurve, read, train_s, writer


def iterate(curves: SummaryWriter, steps: range, score_at: dict[int, float]) -> None:
    for step in steps:
        curves.add_scalar("wall/collect_s", 1.5, step)
        curves.add_scalar("wall/update_s", 0.5, step)
        if step in score_at:
            curves.add_scalar("score/success", score_at[step], step)


def test_a_curve_has_scores_at_their_steps_with_the_training_time(tmp_path: Path) -> None:
    with writer(tmp_path, 0) as curves:
        iterate(curves, range(100, 500, 100), {200: 0.25, 400: 0.5})
    assert read(tmp_path, "success") == LearningCurve((200, 400), (0.25, 0.5), (4.0, 8.0))
    assert train_s(tmp_path) == pytest.approx(8)


def test_steps_after_the_checkpoint_of_a_killed_session_do_not_count_twice_and_its_score_stays(
    tmp_path: Path,
) -> None:
    with writer(tmp_path, 0) as curves:
        iterate(curves, range(100, 500, 100), {200: 0.25, 400: 0.5})
    (file,) = tmp_path.iterdir()
    file.rename(tmp_path / "events.out.tfevents.0000000001")  # file names of sessions differ only by the second
    with writer(tmp_path, 200) as curves:
        iterate(curves, range(300, 700, 100), {400: 0.75, 600: 1.0})
    assert read(tmp_path, "success") == LearningCurve((200, 400, 600), (0.25, 0.75, 1.0), (4.0, 8.0, 12.0))


def test_a_method_without_scores_has_an_empty_curve_and_a_time_from_its_rate(tmp_path: Path) -> None:
    with writer(tmp_path, 0) as curves:
        curves.add_scalar("steps_per_s", 25, 50)
        curves.add_scalar("steps_per_s", 50, 100)
    assert read(tmp_path, "success") == LearningCurve((), (), ())
    assert train_s(tmp_path) == pytest.approx(2 + 1)
