"""The policy slot: where the serving loop takes another policy, without waiting.

Another thread loads a policy and offers it; the loop looks once a turn, which is one comparison. The previous
policy stays loaded, so a rollback takes one turn too. The slot also holds the shadow.
"""

import threading

from odeploy_runtime.errors import UsageError, WorkerError
from odeploy_runtime.hot_swap.shadow import Shadow
from odeploy_runtime.inference.policy import Policy

_LAST_EPOCH = 65_535  # a trace has two bytes for it
_MOST_NAMED = 256
_TAKEN_WITHIN_S = 10.0  # the loop turns at least four times a second


class PolicySlot:
    """Served policy and shadow, shared by two threads.

    The loop takes, the control socket's thread offers.

    Attributes:
        serving: the served policy.
        previous: the policy before it; None at first.
        fingerprints: fingerprints of all policies served since the start; the first belongs to epoch 1.
        shadow: gets every observation and action too; None without one.
    """

    def __init__(self, policy: Policy) -> None:
        self.serving, self.previous = policy, None
        self.fingerprints = [policy.fingerprint]
        self.shadow: Shadow | None = None
        self._offered: Policy | None = None
        self._taken = threading.Event()

    serving: Policy
    previous: Policy | None

    @property
    def recent(self) -> list[str]:
        """The last fingerprints, as many as fit into a message."""
        return self.fingerprints[-_MOST_NAMED:]

    @property
    def epoch(self) -> int:
        """Number of the served policy: counts the policies since the start."""
        return len(self.fingerprints)

    def take(self) -> bool:
        """Return whether there is another policy to serve from here on.

        Called by the loop.
        """
        if self._offered is None:
            return False
        self.previous, self.serving, self._offered = self.serving, self._offered, None
        self.fingerprints.append(self.serving.fingerprint)
        self._taken.set()
        return True

    def offer(self, policy: Policy) -> int:
        """Have the loop serve a policy; return its epoch once it does.

        Called by the other thread.

        Raises:
            UsageError: no epoch is left for it.
            WorkerError: the loop does not turn; the policy will not be served.
        """
        if self.epoch == _LAST_EPOCH:
            raise UsageError(
                where="server",
                expected=f"at most {_LAST_EPOCH} policies since its start",
                got="one more",
                remedy="restart it with the file to serve",
            )
        # The policy that this drops is referenced until here, so that this thread pays for its deallocation.
        retired = self.previous
        self._taken.clear()
        self._offered = policy
        if not self._taken.wait(_TAKEN_WITHIN_S):
            self._offered = None
            raise WorkerError(
                where="server",
                expected=f"its loop to take the policy within {_TAKEN_WITHIN_S:g} s",
                got="a loop that does not turn",
                remedy="check what holds it up",
            )
        del retired
        return self.epoch

    def attach(self, shadow: Shadow | None) -> Shadow | None:
        """Replace the shadow from the next tick on.

        Return the one before, for its caller to close.
        """
        before, self.shadow = self.shadow, shadow
        return before
