"""Changes to a running server: another policy, the previous one, a shadow.

All of it runs in the control socket's thread. A file arrives as bytes, and a child process proves it first;
only then does this process load it. ONNX Runtime releases the interpreter while it builds a session, and the
rest yields it every 0.2 ms, so the loop continues with its policy until it finds the next one between two
ticks, loaded, proven and warm.
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
from odeploy_runtime.hot_swap.slot import PolicySlot, require_same_contract
from odeploy_runtime.inference.policy import load_policy
from odeploy_runtime.policy_file.file import parse
from odeploy_runtime.realtime.clock import Clock
from odeploy_runtime.realtime.counters import Counters

log = logging.getLogger(__name__)

_SWITCH_S = 0.0002
_MOST_BYTES = 1 << 30


class Swapper:
    """Executes the requests of the control socket, one at a time."""

    def __init__(
        self, slot: PolicySlot, provider: str, signers: Path | None, counters: Counters, clock: Clock
    ) -> None:
        """Swap the policies of a slot.

        Args:
            slot: policy slot of the serving loop.
            provider: execution provider.
            signers: folder of public keys, one of which must have signed each file; None accepts all files.
            counters: gets `swaps:`.
            clock: measures how long a swap takes.
        """
        self._slot, self._provider, self._signers = slot, provider, signers
        self._counters, self._clock = counters, clock

    def answer(self, words: Sequence[str], descriptors: Sequence[int]) -> str:
        """Execute a request, see `odeploy_runtime.hot_swap.control_socket.Answer`."""
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
        """End the shadow, if there is one."""
        self._replace_shadow(None)

    @property
    def _serving(self) -> str:
        serving = self._slot.serving
        return f"epoch {self._slot.epoch}, {_described(serving.manifest.name, serving.fingerprint)}"

    def _swap(self, where: str, data: bytes) -> str:
        began_ns = self._clock.now_ns()
        prove(data, where, self._provider, self._signers)
        proven_ns = self._clock.now_ns()
        with _sharing_the_interpreter():
            file = parse(Path(where), data)
            require_same_contract(self._slot.serving.manifest, file.manifest, where)
            policy = load_policy(file, self._provider)
        loaded_ns = self._clock.now_ns()
        self._slot.offer(policy)
        self._counters.add("swaps:swapped")
        return (
            f"serving {self._serving}; proven in {(proven_ns - began_ns) / 1e6:.0f} ms, "
            f"loaded in {(loaded_ns - proven_ns) / 1e6:.0f} ms"
        )

    def _rollback(self) -> str:
        previous = self._slot.previous
        if previous is None:
            raise MissingError(
                where="rollback",
                expected="a policy served before this one",
                got="none since the server's start",
                remedy="swap in the file to serve",
            )
        self._slot.offer(previous)
        self._counters.add("swaps:rolled_back")
        return f"serving {self._serving} again"

    def _begin_shadow(self, where: str, data: bytes, out: int) -> str:
        serving = self._slot.serving.manifest
        with _sharing_the_interpreter():
            shadow = Shadow(data, where, self._provider, self._signers, len(serving.action), out)
        try:
            require_same_contract(serving, shadow.manifest, where)
        except BaseException:
            shadow.close()
            raise
        self._replace_shadow(shadow)
        return f"shadow {_described(shadow.manifest.name, shadow.fingerprint)} beside {self._serving}"

    def _end_shadow(self) -> str:
        return "the shadow is ended" if self._replace_shadow(None) else "there was no shadow"

    def _replace_shadow(self, shadow: Shadow | None) -> bool:
        """Return whether there was a shadow before."""
        before = self._slot.attach(shadow)
        if before is not None:
            before.close()
        return before is not None


@contextlib.contextmanager
def _sharing_the_interpreter() -> Iterator[None]:
    """Yield the interpreter to other threads after 0.2 ms instead of 5."""
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


def _described(name: str, fingerprint: str) -> str:
    return f"{name}, fingerprint {fingerprint}"
