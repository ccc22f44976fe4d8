"""Namespaces of seeds: scores, demonstrations and trainings share no episode.

`env.episode_seed` makes an episode's reset seed of a seed and an episode number. Every user takes that seed from
here, so a score is of episodes that no training, no demonstration and no choice has seen. Seeds below 2⁶⁴ fit into
every vector. NumPy hashes the 32-bit words of seed and episode, without leading zeros. Large namespaces therefore
begin at 2⁶⁰ or more: their upper word is then larger than any episode number. The first episode of EXPERTS, PROBES
and PROGRESS is also episode 256, 512 or 1024 of the score with seed 0; the default score has seed 1.

The hash has 32 bits, and EnvPool takes 31 of them: of 100 and 10,000 episodes any two agree with a chance of
1 in 4,000 (2,000). EnvPool uses them to seed a generator of its own for each environment, whose starts differ from
those of all other backends.
"""

from dataclasses import dataclass

from odeploy_runtime.errors import UsageError

USER_SEEDS = 2**31
"""Number of seeds that a user can choose, from 0."""
MOST_STEPS = 2**32
"""Number of environment steps that a training can have."""


@dataclass(frozen=True)
class Namespace:
    """A range of seeds.

    Attributes:
        use: what its episodes are for.
        first: first seed.
        count: number of seeds.
    """

    use: str
    first: int
    count: int = 1

    def seed(self, number: int = 0) -> int:
        """Return a seed of this namespace.

        Raises:
            UsageError: a number outside it.
        """
        if not 0 <= number < self.count:
            raise UsageError(
                where="--seed",
                expected=f"0 to {self.count - 1} for {self.use}",
                got=str(number),
                remedy="choose one within",
            )
        return self.first + number


SCORES = Namespace("scores", 0, USER_SEEDS)
EXPERTS = Namespace("the choice of an expert's best policy", 2**40)
PROBES = Namespace("parity rows and quantiles of starts", 2**41)
PROGRESS = Namespace("scores during training, and the choice of the best policy", 2**42)
DRAWN = Namespace("cloning and distillation, which draw their seeds", 2**60, 2**60)
DEMONSTRATIONS = Namespace("demonstrations", 2**62, USER_SEEDS)
TRAINING = Namespace("training", 2**63, USER_SEEDS * MOST_STEPS)

NAMESPACES = (SCORES, EXPERTS, PROBES, PROGRESS, DRAWN, DEMONSTRATIONS, TRAINING)


def training(seed: int, steps: int = 0) -> int:
    """Return the seed of a training's episodes.

    Args:
        seed: seed of the training.
        steps: environment steps at which it begins, or is continued.
    """
    if not 0 <= steps < MOST_STEPS:
        raise ValueError(f"a training of {steps} steps")
    return TRAINING.seed(Namespace(TRAINING.use, 0, USER_SEEDS).seed(seed) * MOST_STEPS + steps)
