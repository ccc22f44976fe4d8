"""Quality: its text is parsed and printed; coverage selects the given share of goals, always the same ones."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest

from odeploy_runtime.errors import UsageError
from odeploy_sim.catalogue.locomotion import ANT_GOAL, HOPPER
from odeploy_sim.catalogue.manipulation import FETCH_REACH, HAND_ROTATE
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from odeploy_sim.demonstrations.quality import Quality, Region, region, yaw_rad
from odeploy_sim.environments.multigoal import GOALS_M
from odeploy_sim.tasks.env import TaskEnv, episode_seed
from odeploy_sim.tasks.task import Task

TASKS = (MAZE_MEDIUM, ANT_GOAL, FETCH_REACH)
# Only the fields that regions need.
MULTIGOAL = Task(
    name="multigoal-2d",
    gym_id="odeploy/Multigoal-v0",
    entry_point="odeploy_sim.environments.multigoal:MultigoalEnv",
    summary="",
    observation=FETCH_REACH.observation[:2],
    action=MAZE_MEDIUM.action,
    rate_hz=10.0,
    physics_step_s=0.01,
    horizon=30,
    safe_action=(0.0, 0.0),
    success_key="success",
    paper="",
    differs="",
)


@pytest.fixture(scope="module", params=TASKS, ids=lambda task: task.name)
def env(request: pytest.FixtureRequest) -> Iterator[TaskEnv]:
    made = TaskEnv(request.param)
    yield made
    made.close()


def shown(env: TaskEnv, share: float) -> Region:
    made = region(env, Quality(coverage=share))
    assert made is not None
    return made


def goals(env: TaskEnv, count: int) -> list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    return [env.reset(episode_seed(1, i)) for i in range(count)]


@pytest.mark.parametrize(
    ("text", "quality", "slug"),
    [
        ("expert", Quality(), "expert"),
        ("noisy:0.5", Quality(0.5), "noisy-0_5"),
        ("coverage:0.25", Quality(0.0, 0.25), "coverage-0_25"),
        ("noisy:0.5,coverage:1", Quality(0.5, 1.0), "noisy-0_5-coverage-1"),
    ],
)
def test_a_parsed_text_is_printed_unchanged(text: str, quality: Quality, slug: str) -> None:
    assert Quality.parse(text) == quality
    assert str(quality) == text
    assert quality.slug == slug


def test_parts_are_accepted_in_any_order_and_numbers_in_any_notation() -> None:
    assert str(Quality.parse("coverage:.25,noisy:1e-5")) == "noisy:0.00001,coverage:0.25"


@pytest.mark.parametrize(
    ("text", "expected", "got"),
    [
        ("best", "expert, noisy:STD, coverage:FRACTION", "'best'"),
        ("", "expert, noisy:STD", "''"),
        ("expert,noisy:1", "expert, noisy:STD", "'expert'"),
        ("noisy:1,noisy:2", "expert, noisy:STD", "'noisy:2'"),
        ("noisy", "a positive number after noisy:", "''"),
        ("noisy:loud", "a positive number", "'loud'"),
        ("noisy:0", "a positive number", "'0'"),
        ("noisy:-1", "a positive number", "'-1'"),
        ("noisy:inf", "a positive number", "'inf'"),
        ("coverage:nan", "a positive number", "'nan'"),
        ("coverage:0", "a positive number", "'0'"),
        ("coverage:1.5", "at most 1", "1.5"),
    ],
)
def test_an_invalid_text_is_refused_with_its_part(text: str, expected: str, got: str) -> None:
    with pytest.raises(UsageError) as raised:
        Quality.parse(text)
    assert raised.value.where == f"--quality {text}"
    assert expected in raised.value.expected
    assert raised.value.got == got


def test_without_coverage_there_is_no_region(env: TaskEnv) -> None:
    assert region(env, Quality(0.5)) is None


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_a_region_covers_its_share_of_resets(env: TaskEnv, share: float) -> None:
    inside = shown(env, share).shows
    measured = np.mean([inside(observation) for observation in goals(env, 800)])
    # Three standard deviations of 800 draws and of the 400 that set the quantile; a maze has 26 cells.
    assert measured == pytest.approx(share, abs=3 * np.sqrt(share * (1 - share) * (1 / 800 + 1 / 400)) + 0.5 / 26)


def test_a_larger_share_contains_a_smaller_one_and_share_one_contains_all(env: TaskEnv) -> None:
    quarter, half, everything = (shown(env, share).shows for share in (0.25, 0.5, 1.0))
    for observation in goals(env, 200):
        assert everything(observation)
        assert half(observation) or not quarter(observation)


def test_a_region_does_not_depend_on_earlier_simulation(env: TaskEnv) -> None:
    before = shown(env, 0.3)
    env.step(env.env.action_space.sample())
    after = shown(env, 0.3)
    assert before.description == after.description
    assert [before.shows(o) for o in goals(env, 50)] == [after.shows(o) for o in goals(env, 50)]


def test_a_region_of_a_maze_consists_of_whole_cells(maze: TaskEnv) -> None:
    part, plan = shown(maze, 0.25), maze.env.unwrapped.maze  # type: ignore[attr-defined]
    assert part.description == "6 of 26 goals"
    cells: dict[tuple[int, ...], set[bool]] = {}
    for observation in goals(maze, 600):
        cells.setdefault(tuple(map(int, plan.cell_xy_to_rowcol(observation[4:6]))), set()).add(
            part.shows(observation)
        )
    assert all(len(verdicts) == 1 for verdicts in cells.values())
    assert sum(verdicts == {True} for verdicts in cells.values()) == 6


def test_the_cells_of_a_mazes_region_never_change(maze: TaskEnv) -> None:
    """Recorded once: datasets of another release cover the same goals."""
    part = shown(maze, 0.25)
    places = maze.env.unwrapped.maze.unique_goal_locations  # type: ignore[attr-defined]
    chosen = [i for i, place in enumerate(places) if part.shows(np.array([0, 0, 0, 0, *place], np.float32))]
    assert chosen == [4, 8, 9, 10, 13, 17]


def test_a_region_of_ant_goal_is_an_arc() -> None:
    env = TaskEnv(ANT_GOAL)
    part = shown(env, 0.25)
    angles = [np.arctan2(o[-1], o[-2]) for o in goals(env, 400) if part.shows(o)]
    env.close()
    # A quarter of the half circle, up to the quantile's error.
    assert min(angles) == pytest.approx(0.75 * np.pi, abs=0.2)
    assert max(angles) > 0.98 * np.pi


@pytest.mark.thorough
def test_a_region_of_hand_rotate_is_a_range_of_yaw() -> None:
    env = TaskEnv(HAND_ROTATE)
    part = shown(env, 0.5)
    observations = [env.reset(episode_seed(1, i)) for i in range(40)]
    env.close()
    yaws = np.array([yaw_rad(o[-4:]) for o in observations])
    inside = np.array([part.shows(o) for o in observations])
    assert yaws[inside].max() < yaws[~inside].min()
    assert yaws[inside].max() == pytest.approx(np.pi / 3, abs=0.1)
    assert part.description.startswith("the goal's yaw up to 1.0")


@pytest.mark.parametrize("angle", [-2.5, -0.4, 0.0, 0.7, 3.0])
def test_yaw_does_not_depend_on_the_quaternions_sign(angle: float) -> None:
    quaternion = np.array([np.cos(angle / 2), 0, 0, np.sin(angle / 2)])
    assert yaw_rad(quaternion) == pytest.approx(angle)
    assert yaw_rad(-quaternion) == pytest.approx(angle)


def test_goals_chosen_during_an_episode_are_read_at_its_end() -> None:
    env = TaskEnv(MULTIGOAL)
    part = shown(env, 0.5)
    env.close()
    assert not part.at_start
    near = (GOALS_M * 0.9).astype(np.float32)
    assert sum(part.shows(place) for place in near) == 2
    assert [part.shows(place) for place in near] == [part.shows(place.astype(np.float32)) for place in GOALS_M]


def test_coverage_of_a_task_without_goals_is_refused() -> None:
    env = TaskEnv(dataclasses.replace(HOPPER, horizon=5))
    with pytest.raises(UsageError, match=r"hopper has no goals to show a part of, got coverage:0\.5"):
        region(env, Quality(coverage=0.5))
    env.close()


def test_an_environment_with_its_own_coverage_gets_it_as_an_argument() -> None:
    pick = dataclasses.replace(FETCH_REACH, name="fetch-pick")
    assert Quality(coverage=0.5).arguments(pick) == {"coverage": 0.5}
    assert Quality(0.5).arguments(pick) == Quality(coverage=0.5).arguments(FETCH_REACH) == {}
