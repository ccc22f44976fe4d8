"""Addresses of a server: allowed ones, free ones, and the one really bound."""

import ipaddress
from pathlib import Path

from odeploy_runtime.errors import AddressError
from odeploy_runtime.socket_path import MOST_BYTES, claim

CONTROL = ".control"
"""What the path of a control socket adds to that of the server's socket."""
LANE = ".lane"
"""What the path of the local lane adds to that of the server's socket."""
_MOST_PORT = 65535


def require_allowed(endpoint: str, *, private: bool) -> None:
    """Check an endpoint before it is bound.

    Args:
        endpoint: the address.
        private: allow only addresses that other machines and users do not reach.

    Raises:
        AddressError: another transport, an impossible port, or one that is not private.
    """
    scheme, _, rest = endpoint.partition("://")
    if scheme not in ("ipc", "tcp", "inproc"):
        raise _wrong(endpoint, "ipc:///path or tcp://host:port", "another kind of address")
    port = rest.rpartition(":")[2]
    if scheme == "tcp" and port.isdecimal() and int(port) > _MOST_PORT:
        raise _wrong(endpoint, f"a port of at most {_MOST_PORT}", port)
    if private:
        _require_local(endpoint)


def require_served(endpoint: str) -> None:
    """Raise an AddressError for an address that no other process can reach."""
    if endpoint.startswith("inproc://"):
        raise _wrong(endpoint, "an address that robots can reach", "one within this process")


def claim_address(endpoint: str) -> None:
    """Make an `ipc://path` free: ZeroMQ itself would replace whatever is there.

    The path leaves room for those of its companions, the control socket and the local lane.

    Raises:
        AddressError: the path is too long or taken, see `odeploy_runtime.socket_path.claim`.
    """
    path = socket_file(endpoint)
    if path is not None:
        claim(path, f"endpoint {endpoint}", MOST_BYTES - max(len(CONTROL), len(LANE)))


def socket_file(endpoint: str) -> Path | None:
    """Return the path of an endpoint's socket file.

    Return None for one without, and for `ipc://*`, whose path ZeroMQ chooses.
    """
    path = endpoint.removeprefix("ipc://")
    return Path(path) if endpoint.startswith("ipc://") and path[:1] not in ("@", "*", "") else None


def lane_file(endpoint: str) -> Path | None:
    """Return the path of an endpoint's local lane; None for an endpoint without one."""
    path = socket_file(endpoint)
    return None if path is None else path.with_name(path.name + LANE)


def _require_local(endpoint: str) -> None:
    if endpoint.startswith("ipc://@"):
        raise AddressError(
            where=f"endpoint {endpoint}",
            expected="a path, whose folder decides who may connect",
            got="an abstract name, open to every user of this machine",
            remedy="give ipc:///path, or --key and --allow",
        )
    if not endpoint.startswith("tcp://"):
        return
    host = endpoint.removeprefix("tcp://").rpartition(":")[0].strip("[]")
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local:
        raise AddressError(
            where=f"endpoint {endpoint}",
            expected="a loopback address, since without keys the wire is not encrypted",
            got=host or "none",
            remedy="give --key and --allow (odeploy keys makes them), or bind 127.0.0.1 and use an ssh tunnel",
        )


def _wrong(endpoint: str, expected: str, got: str) -> AddressError:
    return AddressError(where=f"endpoint {endpoint}", expected=expected, got=got, remedy="give another --endpoint")
