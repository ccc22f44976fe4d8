"""The shadow: a second policy on the same observations, which moves nothing.

It runs in a process of its own. For each sent action the loop also sends it the observation and the action, in
one packet that is dropped if the shadow is busy: that costs microseconds, whatever happens to the shadow. The
shadow computes its own answer from the same noise, and sums for each signal how far the two differ, on unit
scale: in memory that the server reads, and as a line of JSON each second.
"""

import os
import signal
import socket
from pathlib import Path

from odeploy_runtime.hot_swap.divergence import HEAD, Divergence, read_divergence, shadow_names
from odeploy_runtime.hot_swap.proving import in_memory, require_proven
from odeploy_runtime.policy_file.file import parse
from odeploy_runtime.realtime.child_process import PIPE, python_module, start, wait_or_kill
from odeploy_runtime.realtime.counters import Counters, shareable
from odeploy_runtime.transport import messages

_END_S = 1.0


class Shadow:
    """The server's end.

    Attributes:
        manifest, fingerprint: manifest and fingerprint of its file.
    """

    def __init__(
        self, data: bytes, where: str, provider: str, signers: Path | None, actions: int, out: int
    ) -> None:
        """Start the process, and wait until it has proven the file.

        Args:
            data: bytes of the policy file.
            where: path of the policy file, for messages.
            provider: execution provider.
            signers: see `odeploy_runtime.hot_swap.proving.prove`.
            actions: A, number of action signals of the served policy.
            out: descriptor of the file for the lines.

        Raises:
            RelayedError, WorkerError: the file is refused, or the process died.
        """
        names, self._actions = shadow_names(actions), actions
        memory = shareable(names)
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        descriptors = theirs.fileno(), memory, out
        arguments = *map(str, descriptors), where, provider, *([str(signers)] if signers else [])
        command = python_module("odeploy_runtime.hot_swap.shadow_process", *arguments, orphaned=signal.SIGKILL)
        try:
            with theirs, in_memory(data) as standard_input:
                self._process = start(command, pass_fds=descriptors, stdin=standard_input, stdout=PIPE)
            self._counters = Counters(names, memory)
        finally:
            os.close(memory)
        self._socket.setblocking(False)
        try:
            require_proven(self._process, where)
            file = parse(Path(where), data)
        except BaseException:
            self.close()
            raise
        self.manifest, self.fingerprint = file.manifest, file.fingerprint

    def feed(self, seed: int, message: messages.Observation, action: messages.Action) -> bool:
        """Send one tick; return False if it was dropped."""
        head = HEAD.pack(message.session, seed, message.episode, message.seq, action.policy_epoch)
        try:
            self._socket.send(head + message.values + action.values)
        except OSError:  # busy, dead, or ended just now
            return False
        return True

    def divergence(self) -> Divergence:
        """Return what it has found so far."""
        return read_divergence(self._counters, self._actions)

    def close(self) -> None:
        """End the process; it writes its last line."""
        self._socket.close()
        wait_or_kill(self._process, _END_S)
        assert self._process.stdout is not None
        self._process.stdout.close()
