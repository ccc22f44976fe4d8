"""What an operator may change at a server that runs: another policy, the one before, a shadow.

All of it happens in the thread of the control socket. A file comes in as bytes that a child process proves
first; only then does this process load them. ONNX Runtime does not hold the interpreter while it builds a
session, and the rest hands it on every 0.2 ms, so the loop goes on with the policy that it has until it finds the
next one, loaded, proven and warm, between two ticks.
"""

import contextlib
import logging
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from odeploy_runtime.errors import MissingError, OdeployError, UsageError
from odeploy_runtime.hot_swap.proving import prove
from odeploy_runtime.hot_swap.shadow import Shadow
from odeploy_runtime.hot_swap.slot import require_same_contract
from odeploy_runtime.inference.policy import load_policy
from odeploy_runtime.policy_file.file import parse
from odeploy_runtime.realtime.clock import Clock
from odeploy_runtime.realtime.counters import Counters
from odeploy_runtime.server.service import Service

log = logging.getLogger(__name__)

_SWITCH_S = 0.0002
_MOST_BYTES = 1 << 30


class Swapper:
    """Does what the control socket is asked for; one thing at a time."""

    def __init__(
        self,
        service: Service,
        provider: str,
        signers: Path | None,
        counters: Counters,
        clock: Clock,
    ) -> None:
        """Takes up its work.

        Args:
            service: whose policy it exchanges.
            provider: execution provider.
            signers: folder of public keys, one of which must have signed each file; None where anybody may.
            counters: gets `swaps:`.
            clock: tells how long a swap took.
        """
        self._service, self._provider, self._signers = service, provider, signers
        self._counters, self._clock = counters, clock

    def answer(self, words: Sequence[str], descriptors: Sequence[int]) -> str:
        """See `odeploy_runtime.hot_swap.control_socket.Answer`."""
        try:
            match [*words], [*descriptors]:
                case ["swap", str(where)], [file]:
                    line = self._swap(where, _read(file, where))
                case ["rollback"], []:
                    line = self._rollback()
                case ["shadow", str(where)], [file, out]:
                    line = self._begin_shadow(where, _read(file, where), out)
                case ["shadow"], []:
                    line = self._end_shadow()
                case _:
                    raise UsageError(
                        where="control socket",
                        expected="swap, rollback or shadow",
                        got=f"{str(words)[:100]} with {len(descriptors)} files",
                        remedy="use the same release on both sides",
                    )
        except OdeployError as error:
            self._counters.add("swaps:refused")
            log.warning("refused, %s serves on: %s", self._serving, error)
            raise
        log.info("%s", line)
        return line

    def close(self) -> None:
        """Ends the shadow, if there is one."""
        self._detach()

    @property
    def _serving(self) -> str:
        exchange = self._service.exchange
        return f"epoch {exchange.epoch}, {_of(exchange.serving.manifest.name, exchange.serving.fingerprint)}"

    def _swap(self, where: str, data: bytes) -> str:
        began_ns, exchange = self._clock.now_ns(), self._service.exchange
        prove(data, where, self._provider, self._signers)
        proven_ns = self._clock.now_ns()
        with _sharing_the_interpreter():
            file = parse(Path(where), data)
            require_same_contract(exchange.serving.manifest, file.manifest, where)
            policy = load_policy(file, self._provider)
        loaded_ns = self._clock.now_ns()
        exchange.offer(policy)
        self._counters.add("swaps:swapped")
        return (
            f"serving {self._serving}; proven in {(proven_ns - began_ns) / 1e6:.0f} ms, "
            f"loaded in {(loaded_ns - proven_ns) / 1e6:.0f} ms"
        )

    def _rollback(self) -> str:
        exchange = self._service.exchange
        if exchange.previous is None:
            raise MissingError(
                where="rollback",
                expected="a policy that was served before this one",
                got="none since the server's start",
                remedy="swap in the file that shall be served",
            )
        exchange.offer(exchange.previous)
        self._counters.add("swaps:rolled_back")
        return f"serving {self._serving} again"

    def _begin_shadow(self, where: str, data: bytes, out: int) -> str:
        serving = self._service.exchange.serving.manifest
        with _sharing_the_interpreter():
            shadow = Shadow(data, where, self._provider, self._signers, len(serving.action), out)
        try:
            require_same_contract(serving, shadow.manifest, where)
        except BaseException:
            shadow.close()
            raise
        self._detach()
        self._service.shadow = shadow
        return f"shadow {_of(shadow.manifest.name, shadow.fingerprint)} beside {self._serving}"

    def _end_shadow(self) -> str:
        return "the shadow is ended" if self._detach() else "there was no shadow"

    def _detach(self) -> bool:
        shadow, self._service.shadow = self._service.shadow, None
        if shadow is not None:
            shadow.close()
        return shadow is not None


@contextlib.contextmanager
def _sharing_the_interpreter() -> Iterator[None]:
    """Lets other threads have the interpreter after 0.2 ms instead of 5."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _read(descriptor: int, where: str) -> bytes:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_size > _MOST_BYTES:
        raise UsageError(
            where=where,
            expected=f"a file of at most {_MOST_BYTES:,} bytes",
            got=f"{status.st_size:,} bytes" if stat.S_ISREG(status.st_mode) else "something else",
            remedy="give a policy file",
        )
    with open(descriptor, "rb", closefd=False) as file:
        return file.read()


def _of(name: str, fingerprint: str) -> str:
    return f"{name}, fingerprint {fingerprint}"
