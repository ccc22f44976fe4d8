"""Versions of the methods' trainings, a part of a run's key.

A version rises only when a correction, or another default, changes what the same options train. A sweep then
trains again, and tables mark the rows that are older.
"""

ALGORITHM_VERSIONS = {
    # Advantages are normalised once a rollout, and the first rollout only fills the normaliser.
    "ppo": 2,
    "fpo": 2,
    "fpo++": 2,
    "dppo": 2,
    "fm-ppo": 2,
    "fm-a2c": 2,
    "gail": 2,
    "airl": 2,
    "wail": 2,
    "vail": 2,
    "drail": 2,
    # Beside that, the regulariser is a mean over rows and action dimensions.
    "fm-irl": 2,
    # Critics have a LayerNorm, and rates of multipliers and temperatures other defaults; FMER's entropy is exact.
    "fmer": 2,
    "sac": 2,
    "qvpo": 2,
    "dipo": 2,
    "dpmd": 2,
}


def algorithm_version(verb: str) -> int:
    """Return the version of a verb's training; 1 if it was never corrected."""
    return ALGORITHM_VERSIONS.get(verb, 1)
