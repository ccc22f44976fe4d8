"""Checks of options that training verbs share."""

import math

from odeploy_runtime.errors import UsageError


def require_positive(**options: float) -> None:
    """Refuses counts and rates that are not above zero.

    Raises:
        UsageError: names the first one.
    """
    for name, value in options.items():
        if not 0 < value < math.inf:
            raise UsageError(
                where=f"--{name.replace('_', '-')}",
                expected="a number above 0",
                got=f"{value:g}",
                remedy="change it",
            )


def require_from_zero(**options: tuple[float, float]) -> None:
    """Refuses numbers below 0, or not below the end that is given with them.

    Raises:
        UsageError: names the first one.
    """
    for name, (value, end) in options.items():
        if not 0 <= value < end:
            raise UsageError(
                where=f"--{name.replace('_', '-')}",
                expected=f"at least 0 and below {end:g}",
                got=f"{value:g}",
                remedy="change it",
            )
