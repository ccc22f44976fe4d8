"""Where a loop that serves a policy is handed another one: between two ticks, without waiting for anything.

Whoever loads does it in a thread of its own and lays the policy down here; the loop looks once a turn, which
is one comparison. The policy before stays loaded, so the way back is as quick as the next turn.
"""

import threading

from odeploy_runtime.errors import ContractError, UsageError, WorkerError
from odeploy_runtime.inference.onnx_policy import Policy
from odeploy_runtime.policy_file.manifest import Manifest
from odeploy_runtime.signals import require_same_names

_LAST_EPOCH = 65_535  # a trace has two bytes for it
_MOST_NAMED = 256
_TAKEN_WITHIN_S = 10.0  # the loop turns at least four times a second


class Exchange:
    """One loop takes, one thread offers.

    Attributes:
        serving: what the loop serves.
        previous: what it served before; None at first.
        fingerprints: of all that was served since the start; the first is that of epoch 1.
    """

    def __init__(self, policy: Policy) -> None:
        self.serving, self.previous = policy, None
        self.fingerprints = [policy.fingerprint]
        self._offered: Policy | None = None
        self._taken = threading.Event()

    serving: Policy
    previous: Policy | None

    @property
    def recent(self) -> list[str]:
        """The last of `fingerprints`, as many as a message may name."""
        return self.fingerprints[-_MOST_NAMED:]

    @property
    def epoch(self) -> int:
        """Of what is served: counts the policies since the start."""
        return len(self.fingerprints)

    def take(self) -> bool:
        """The loop's look: whether there is another policy to serve from here on."""
        if self._offered is None:
            return False
        self.previous, self.serving, self._offered = self.serving, self._offered, None
        self.fingerprints.append(self.serving.fingerprint)
        self._taken.set()
        return True

    def offer(self, policy: Policy) -> int:
        """Has a policy served, and returns its epoch once it is; called in the other thread.

        Raises:
            UsageError: there is no number left for it.
            WorkerError: the loop does not turn; it will not be served.
        """
        if self.epoch == _LAST_EPOCH:
            raise UsageError(
                where="server",
                expected=f"at most {_LAST_EPOCH} policies since its start",
                got="one more",
                remedy="start it again with the file that it shall serve",
            )
        # What is dropped by this is kept until here, so that this thread pays for its end.
        retired = self.previous
        self._taken.clear()
        self._offered = policy
        if not self._taken.wait(_TAKEN_WITHIN_S):
            self._offered = None
            raise WorkerError(
                where="server",
                expected=f"that its loop takes the policy within {_TAKEN_WITHIN_S:g} s",
                got="a loop that does not turn",
                remedy="see what holds it up",
            )
        del retired
        return self.epoch


def require_same_contract(serving: Manifest, other: Manifest, where: str) -> None:
    """Refuses a policy that robots which are connected could not go on with.

    Raises:
        ContractError: another task, rate or horizon, or other signals.
    """
    for field in ("task", "rate_hz", "horizon"):
        expected, got = getattr(serving, field), getattr(other, field)
        if expected != got:
            raise ContractError(
                where=f"{where}, {field}",
                expected=f"{expected} as of the policy that is served",
                got=str(got),
                remedy="serve this file with a server of its own",
            )
    require_same_names(serving.raw_names, other.raw_names, f"{where}, observation")
    require_same_names(serving.action_names, other.action_names, f"{where}, action")
