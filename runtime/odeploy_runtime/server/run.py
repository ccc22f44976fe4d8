"""Assembly of a server: policy, socket, authentication, hot swap and scheduling."""

import contextlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import zmq

from odeploy_runtime.hot_swap.control_socket import ControlSocket, control_path
from odeploy_runtime.hot_swap.slot import PolicySlot
from odeploy_runtime.hot_swap.swapper import Swapper
from odeploy_runtime.inference.policy import Policy
from odeploy_runtime.inference.trial_load import LOAD_LIMIT_S, load_tried
from odeploy_runtime.policy_file.file import PolicyFile, read
from odeploy_runtime.realtime.clock import Clock, MonotonicClock
from odeploy_runtime.realtime.counters import SERVER, Counters
from odeploy_runtime.realtime.scheduling import RealTimeOptions, pinned, real_time
from odeploy_runtime.realtime.watchdog import Watchdog
from odeploy_runtime.server.loop import Server
from odeploy_runtime.server.options import ServerOptions
from odeploy_runtime.server.service import Service
from odeploy_runtime.server.service_manager import ALIVE, READY, STOPPING, notify
from odeploy_runtime.socket_path import removed_at_end
from odeploy_runtime.transport.address import (
    claim_address,
    lane_file,
    require_allowed,
    require_served,
    socket_file,
)
from odeploy_runtime.transport.curve_auth import Authenticator
from odeploy_runtime.transport.gate import gate, raise_limit
from odeploy_runtime.transport.inbox import Inbox
from odeploy_runtime.transport.keys import KeyPair
from odeploy_runtime.transport.lane import listen
from odeploy_runtime.transport.sockets import DEFAULT_ENDPOINT, bind_router

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Access:
    """Where a server listens, and who may connect.

    Attributes:
        endpoint: `ipc:///path` or `tcp://host:port`.
        keys: the server's key pair; None without encryption.
        allowed: the 32 bytes of each robot's public key that may connect, and its name.
        insecure: listen beyond this machine without keys.
    """

    endpoint: str = DEFAULT_ENDPOINT
    keys: KeyPair | None = None
    allowed: Mapping[bytes, str] = field(default_factory=dict)
    insecure: bool = False

    @property
    def protection(self) -> str:
        """What protects the server, in one line."""
        if self.keys is not None:
            return f"encrypted, for {len(self.allowed)} keys: {', '.join(sorted(self.allowed.values()))}"
        if self.insecure:
            return f"INSECURE: anyone who reaches {self.endpoint} can read and alter everything; no encryption"
        return "not encrypted: for this machine alone"


def serve(
    file: str | Path | PolicyFile,
    access: Access = Access(),
    *,
    provider: str = "auto",
    load_limit_s: float = LOAD_LIMIT_S,
    options: ServerOptions = ServerOptions(),  # noqa: B008 - frozen
    realtime: RealTimeOptions = RealTimeOptions(),  # noqa: B008 - frozen
    signers: Path | None = None,
    control: Path | None = None,
    http: str | None = None,
) -> None:
    """Serve a policy file until an exception (such as Ctrl-C) ends it.

    Args:
        file: the policy file.
        access: endpoint, and the robots that may connect.
        provider: execution provider, see `odeploy_runtime.inference.policy.load_policy`.
        load_limit_s: time limit of loading the file [s].
        options: options of the server.
        realtime: priority and core of the loop.
        signers: folder of public keys, one of which must have signed each file; None accepts any file.
        control: path of the control socket; None for the endpoint's default.
        http: `PORT` or `HOST:PORT` of the health check and metrics; None without.
    """
    require_served(access.endpoint)
    file = file if isinstance(file, PolicyFile) else read(file)
    signer = "" if signers is None else f"signed by {_signer(file, signers)}, "
    policy, clock = load_tried(file, provider, load_limit_s), MonotonicClock()
    with contextlib.ExitStack() as stack:
        counters = Counters(SERVER) if http is None else _published(http, stack)
        context = stack.enter_context(zmq.Context[zmq.Socket[bytes]]())
        context.socket(zmq.PAIR).close()  # starts its I/O threads, which get the priority too
        obtained = stack.enter_context(real_time(realtime.priority))
        descriptors = raise_limit()
        inbox, bound = _bound(context, access, counters, clock, stack)
        _log_start(
            policy, replace(access, endpoint=bound), signer, {**obtained, "descriptors": f"{descriptors:,}"}
        )
        stack.enter_context(gate(bound, counters))
        slot = PolicySlot(policy)
        service = Service(slot, options, clock, counters, inbox.send)
        path = control or control_path(bound)
        if path is not None:
            swapper = Swapper(slot, provider, signers, counters, clock)
            stack.enter_context(contextlib.closing(ControlSocket(path, swapper.answer)))
            stack.enter_context(contextlib.closing(swapper))  # before the thread that started the shadow ends
        server = Server(inbox, service, clock, counters)
        watchdog = Watchdog(lambda: server.turns, service.at_work, partial(notify, ALIVE), counters)
        notify(READY)
        stack.callback(notify, STOPPING)
        with watchdog, pinned(realtime.core):
            server.run()


def _bound(
    context: "zmq.Context[zmq.Socket[bytes]]",
    access: Access,
    counters: Counters,
    clock: Clock,
    stack: contextlib.ExitStack,
) -> tuple[Inbox, str]:
    """Bind the server's sockets; return their inbox, and the endpoint as bound.

    With keys, authentication must be there before the ZeroMQ socket, and there is no lane, which has no keys. The
    lane must be there before that socket too: robots take its absence beside the socket for a server without one.
    """
    auth = listener = None
    if access.keys is not None:
        auth = Authenticator(context, access.allowed, counters)
        stack.enter_context(contextlib.closing(auth))
    require_allowed(access.endpoint, private=access.keys is None and not access.insecure)
    claim_address(access.endpoint)
    path = lane_file(access.endpoint) if access.keys is None else None
    if path is not None:
        listener = stack.enter_context(listen(path))
        stack.enter_context(removed_at_end(path))
    socket = bind_router(context, access.endpoint, access.keys, access.insecure)
    file = socket_file(access.endpoint)
    if file is not None:
        stack.enter_context(removed_at_end(file))
    stack.callback(socket.close, linger=100)
    if auth is not None:
        auth.watch(socket)
    inbox = stack.enter_context(contextlib.closing(Inbox(socket, clock, listener, auth)))
    # Of `tcp://127.0.0.1:*` the port, of `ipc://*` the path.
    return inbox, socket.getsockopt_string(zmq.LAST_ENDPOINT)


def _log_start(policy: Policy, access: Access, signer: str, obtained: Mapping[str, str]) -> None:
    m = policy.manifest
    log.info(
        f"serving {m.name} ({m.method}, {m.sampler_label}) for {m.task} at {access.endpoint}; "
        f"fingerprint {policy.fingerprint[:12]}, {signer}golden rows within {policy.golden_error:.1e}, "
        f"{policy.provider}, " + ", ".join(f"{name} {value}" for name, value in obtained.items()),
        extra={"policy": m.name, "fingerprint": policy.fingerprint, "endpoint": access.endpoint},
    )
    log.log(logging.WARNING if access.insecure else logging.INFO, access.protection)


def _signer(file: PolicyFile, signers: Path) -> str:
    from odeploy_runtime.policy_file.signature import require_signed  # needs the extra `sign`

    return require_signed(file, signers)


def _published(http: str, stack: contextlib.ExitStack) -> Counters:
    from odeploy_runtime.realtime.http_metrics import reported  # needs the extra `metrics`

    return stack.enter_context(reported(http, SERVER))
