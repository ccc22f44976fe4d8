"""The server that a command is for: named in place, or by `--server`."""

from odeploy_runtime.errors import UsageError
from odeploy_runtime.transport.sockets import DEFAULT_ENDPOINT


def server_address(in_place: str | None, option: str | None) -> str:
    """Return the given address, or the default endpoint.

    Raises:
        UsageError: both are given, and differ.
    """
    if in_place is not None and option is not None and in_place != option:
        raise UsageError(
            where="--server",
            expected="one server",
            got=f"{in_place} and {option}",
            remedy="give its address once, in place or as --server",
        )
    return in_place or option or DEFAULT_ENDPOINT
