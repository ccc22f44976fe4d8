"""n-step returns: every stored transition equals a brute-force sum over its own episode."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from odeploy_train.off_policy.n_step import NStep

GAMMA, ENVS, TICKS = 0.5, 3, 14
ENDS = "running", "terminated", "truncated", "broken"


@settings(max_examples=30)
@given(st.integers(1, 6), st.lists(st.sampled_from(ENDS), min_size=ENVS * TICKS, max_size=ENVS * TICKS))
def test_each_transition_is_the_sum_of_its_next_rewards_up_to_the_end_of_its_episode(
    n: int, drawn: list[str]
) -> None:
    """Each number of a tick is unique, so a row tells which ticks it counts."""
    how = np.array(drawn).reshape(TICKS, ENVS)
    windows, found = NStep(ENVS, n, GAMMA), []
    before = np.arange(TICKS * ENVS, dtype=np.float32).reshape(TICKS, ENVS, 1)
    reward = 1.0 + before[:, :, 0].astype(float)
    for tick in range(TICKS):
        rows = windows.add(
            before[tick], before[tick] + 0.5, reward[tick], before[tick] + 1000, how[tick] == "terminated",
            how[tick] != "running", how[tick] != "broken",
        )  # fmt: skip
        found += [
            tuple(float(x) for x in np.concatenate([np.ravel(part) for part in row]))
            for row in zip(*rows, strict=True)
        ]
    expected = []
    for env in range(ENVS):
        for tick in range(TICKS):
            total, m = 0.0, 0
            for later in range(tick, TICKS):
                kind, last = how[later, env], None
                if kind == "broken":  # the value of the observation before it stands for the rest
                    last = (float(before[later, env, 0]), 0.0) if m else None
                    break
                total, m = total + GAMMA**m * reward[later, env], m + 1
                if m == n or kind != "running":
                    last = (float(before[later, env, 0]) + 1000, float(kind == "terminated"))
                    break
            else:
                last = None  # not complete yet
            if last is not None:
                first = float(before[tick, env, 0])
                expected.append((first, first + 0.5, total, *last, float(m)))
    assert len(found) == len(expected)
    assert np.allclose(sorted(found), sorted(expected))


def test_one_tick_returns_are_the_ticks_themselves_without_the_broken_ones() -> None:
    o, a, r = np.ones((2, 3), np.float32), np.zeros((2, 1), np.float32), np.array([1.0, 2.0])
    ended, sound = np.array([False, True]), np.array([True, False])
    rows = NStep(2, 1, 0.9).add(o, a, r, o + 1, ended, ended, sound)
    assert [row.shape for row in rows] == [(1, 3), (1, 1), (1,), (1, 3), (1,), (1,)]
    assert (rows[2][0], rows[4][0], rows[5][0]) == (1.0, 0.0, 1.0)
