"""Changes to a running server: another policy, the previous one, a shadow.

Swaps and shadows run one after another in a thread. A file arrives as bytes, and a child process proves it first;
only then does this process load it. ONNX Runtime releases the interpreter while it builds a session, and the
rest yields it every 0.2 ms, so the loop continues with its policy until it finds the next one between two
ticks, loaded, proven and warm. A rollback waits for none of that: it ends the swaps that are under way.
"""

import contextlib
import logging
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from odeploy_runtime.errors import MissingError, OdeployError, UsageError
from odeploy_runtime.hot_swap.contract import require_allowable, require_same_contract, require_same_robot
from odeploy_runtime.hot_swap.proving import Proof, prove
from odeploy_runtime.hot_swap.shadow import Shadow
from odeploy_runtime.hot_swap.slot import PolicySlot
from odeploy_runtime.hot_swap.worker_thread import WorkerThread
from odeploy_runtime.inference.policy import load_policy
from odeploy_runtime.policy_file.file import parse
from odeploy_runtime.realtime.clock import Clock
from odeploy_runtime.realtime.counters import Counters
from odeploy_runtime.regular_file import POLICY_BYTES, read_bounded

log = logging.getLogger(__name__)

_SWITCH_S = 0.0002
_END_S = 0.5


class Swapper:
    """Executes the requests of the control socket, each called in a thread of its own."""

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
        self._worker = WorkerThread("swaps")
        self._under_way: set[Proof] = set()
        self._decision = threading.Lock()  # held while a policy is offered, or swaps are ended

    def answer(self, words: Sequence[str], descriptors: Sequence[int]) -> str:
        """Execute a request, see `odeploy_runtime.hot_swap.control_socket.Answer`."""
        try:
            match [*words], [*descriptors]:
                case ["swap", str(where), *allowed], [file]:
                    line = self._swap(where, _read(file, where), allowed)
                case ["rollback"], []:
                    line = self._rollback()
                case ["abort"], []:
                    line = self._abort()
                case ["shadow", str(where)], [file, out]:
                    data = _read(file, where)
                    line = self._worker.do(lambda: self._begin_shadow(where, data, out))
                case ["shadow"], []:
                    line = self._worker.do(self._end_shadow)
                case _:
                    raise UsageError(
                        where="control socket",
                        expected="swap, rollback, abort or shadow",
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
        """End the swaps under way, and the shadow, if there is one."""
        self._end_swaps("the server's end")
        self._replace_shadow(None)  # first: it is killed when the thread that started it ends
        self._worker.close(_END_S)
        self._replace_shadow(None)  # one that began meanwhile

    @property
    def _serving(self) -> str:
        serving = self._slot.serving
        return f"epoch {self._slot.epoch}, {_described(serving.manifest.name, serving.fingerprint)}"

    def _swap(self, where: str, data: bytes, allowed: Sequence[str]) -> str:
        require_allowable(allowed)
        proof = Proof()
        self._under_way.add(proof)
        try:
            return self._worker.do(lambda: self._prove_and_offer(where, data, allowed, proof))
        finally:
            self._under_way.discard(proof)

    def _prove_and_offer(self, where: str, data: bytes, allowed: Sequence[str], proof: Proof) -> str:
        proof.require_wanted(where)
        began_ns = self._clock.now_ns()
        prove(data, where, self._provider, self._signers, proof)
        proven_ns = self._clock.now_ns()
        with _sharing_the_interpreter():
            file = parse(Path(where), data)
            require_same_contract(self._slot.serving.manifest, file.manifest, where, allowed)
            policy = load_policy(file, self._provider)
        loaded_ns = self._clock.now_ns()
        with self._decision:
            proof.require_wanted(where)
            self._slot.offer(policy)
            self._under_way.discard(proof)
            self._counters.add("swaps:swapped")
            return (
                f"serving {self._serving}; proven in {(proven_ns - began_ns) / 1e6:.0f} ms, "
                f"loaded in {(loaded_ns - proven_ns) / 1e6:.0f} ms"
            )

    def _rollback(self) -> str:
        with self._decision:
            ended, previous = self._end_swaps("a rollback"), self._slot.previous
            if previous is None:
                raise MissingError(
                    where="rollback",
                    expected="a policy served before this one",
                    got=f"none since the server's start, {ended}",
                    remedy="swap in the file to serve",
                )
            self._slot.offer(previous)
            self._counters.add("swaps:rolled_back")
            return f"serving {self._serving} again; {ended}"

    def _abort(self) -> str:
        with self._decision:
            return f"{self._end_swaps('swap --abort')}; serving {self._serving}"

    def _end_swaps(self, request: str) -> str:
        """End the swaps under way, none of which is offered afterwards; return how many."""
        swaps = [*self._under_way]
        for proof in swaps:
            proof.end(request)
        return f"swaps under way ended: {len(swaps) or 'none'}"

    def _begin_shadow(self, where: str, data: bytes, out: int) -> str:
        serving = self._slot.serving.manifest
        with _sharing_the_interpreter():
            shadow = Shadow(data, where, self._provider, self._signers, len(serving.action), out)
        try:
            require_same_robot(serving, shadow.manifest, where)
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
    try:
        with open(descriptor, "rb", closefd=False) as file:
            return read_bounded(file, Path(where), POLICY_BYTES)
    except OSError as error:
        raise UsageError(
            where=where,
            expected="a policy file",
            got=error.strerror or type(error).__name__,
            remedy="give the path of a file written by `odeploy export`",
        ) from None


def _described(name: str, fingerprint: str) -> str:
    return f"{name}, fingerprint {fingerprint}"
