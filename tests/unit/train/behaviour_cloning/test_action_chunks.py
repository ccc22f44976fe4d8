"""Action chunks end with their episode."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from odeploy_sim.demonstrations.dataset import Demonstrations
from odeploy_train.behaviour_cloning.action_chunks import chunks


def episodes(lengths: list[int]) -> Demonstrations:
    """Return episodes with the action (e, k) in episode e at tick k."""
    actions = [(e, k) for e, length in enumerate(lengths) for k in range(length)]
    return Demonstrations(
        observations=np.zeros((len(actions), 1), np.float32),
        actions=np.array(actions, np.float32),
        starts=np.cumsum([0, *lengths[:-1]]),
        data_hash="",
        returns=np.zeros(len(lengths)),
        successes=None,
    )


def test_an_episodes_last_action_is_repeated_at_its_end() -> None:
    made = chunks(episodes([2, 3]), 3).tolist()
    assert made[:2] == [[0, 0, 0, 1, 0, 1], [0, 1, 0, 1, 0, 1]]
    assert made[2:] == [[1, 0, 1, 1, 1, 2], [1, 1, 1, 2, 1, 2], [1, 2, 1, 2, 1, 2]]


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.integers(1, 9))
def test_each_tick_has_a_chunk_within_its_episode(lengths: list[int], horizon: int) -> None:
    made = chunks(episodes(lengths), horizon).view(-1, horizon, 2)
    row = 0
    for e, length in enumerate(lengths):
        for k in range(length):
            expected = [[e, min(k + h, length - 1)] for h in range(horizon)]
            assert made[row].tolist() == expected
            row += 1
    assert row == len(made)
