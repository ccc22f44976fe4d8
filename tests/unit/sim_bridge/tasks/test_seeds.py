import itertools
from collections.abc import Iterator

import pytest

from odeploy_runtime.errors import UsageError
from odeploy_sim.tasks import seeds
from odeploy_sim.tasks.env import episode_seed
from odeploy_sim.tasks.seeds import DEMONSTRATIONS, MOST_STEPS, NAMESPACES, PROGRESS, SCORES, TRAINING, USER_SEEDS

BITS = 32


def words(number: int) -> list[int]:
    """The 32-bit words of a number, lowest first, as NumPy's SeedSequence takes them."""
    return [number >> shift & (2**BITS - 1) for shift in range(0, max(number.bit_length(), 1), BITS)]


def test_no_two_namespaces_share_a_seed() -> None:
    for one, other in itertools.combinations(NAMESPACES, 2):
        assert one.first + one.count <= other.first or other.first + other.count <= one.first


def test_every_seed_fits_into_the_64_bits_of_a_vector() -> None:
    assert all(namespace.first >= 0 and namespace.first + namespace.count <= 2**64 for namespace in NAMESPACES)
    assert seeds.training(USER_SEEDS - 1, MOST_STEPS - 1) == 2**64 - 1


def ambiguous() -> Iterator[tuple[str, int]]:
    """Yield namespaces whose first episode is also one of a score, with its number there.

    NumPy pads entropy with zeros: (seed of two words, episode 0) equals (lower word, episode = upper word).
    """
    for namespace in NAMESPACES:
        for seed in {namespace.first, namespace.first + namespace.count - 1}:
            if seed >= 2**BITS:
                yield namespace.use, seed >> BITS


def test_the_upper_word_of_a_large_seed_is_no_number_of_an_episode_of_a_score() -> None:
    small = {upper for _, upper in ambiguous() if upper < 2**28}
    assert small == {2**8, 2**9, 2**10}  # EXPERTS, PROBES and PROGRESS
    assert all(words(seed)[0] == 0 for seed in (2**40, 2**41, 2**42))  # which meet score seed 0 alone


def test_padding_is_why_namespaces_begin_so_high() -> None:
    assert episode_seed(2**44 + 1, 0) == episode_seed(1, 2**12)  # 4,096 episodes are a score
    assert episode_seed(seeds.training(1), 0) == episode_seed(0, 2**31 + 1)  # 2³¹ are none


@pytest.mark.parametrize("seed", [0, 1, 2, 7])
def test_a_training_shares_no_episode_with_its_score_or_its_demonstrations(seed: int) -> None:
    def episodes(of: int, count: int) -> set[int]:
        return {episode_seed(of, number) for number in range(count)}

    trained = episodes(seeds.training(seed), 4_000) | episodes(seeds.training(seed, 81_920), 1_000)
    others = [episodes(SCORES.seed(s), 200) for s in (0, 1, seed)]
    others += [episodes(DEMONSTRATIONS.seed(s), 300) for s in (0, 1, seed)] + [episodes(PROGRESS.seed(), 50)]
    assert all(trained.isdisjoint(other) for other in others)
    assert all(one.isdisjoint(other) for one in others[:3] for other in others[3:])


def test_a_training_continued_at_any_step_has_seeds_of_its_own() -> None:
    found = {seeds.training(seed, steps) for seed in range(40) for steps in range(0, 4_000_000, 50_000)}
    assert len(found) == 40 * 80
    assert all(TRAINING.first <= seed < 2**64 for seed in found)


@pytest.mark.parametrize("number", [-1, USER_SEEDS])
def test_a_seed_outside_its_namespace_is_refused(number: int) -> None:
    for make in (SCORES.seed, DEMONSTRATIONS.seed, seeds.training):
        with pytest.raises(UsageError, match=f"got {number}"):
            make(number)
