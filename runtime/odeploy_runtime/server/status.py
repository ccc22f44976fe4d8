"""The server status: counters, liveness, readiness, and the answer to a Ping."""

from odeploy_runtime.hot_swap.slot import PolicySlot
from odeploy_runtime.realtime.counters import SERVER, Counters
from odeploy_runtime.server.load import Load
from odeploy_runtime.server.sessions import Sessions
from odeploy_runtime.transport import messages

_ERRORS = {
    messages.UNKNOWN_SESSION: "errors:unknown_session",
    messages.WRONG_LENGTH: "errors:wrong_length",
    messages.NOT_FINITE: "errors:not_finite",
    messages.MALFORMED: "errors:malformed",
    messages.INFERENCE_FAILED: "errors:inference_failed",
    messages.FAR_OUTSIDE: "errors:far_outside",
}
_REFUSALS = tuple(name for name in SERVER.counters if name.startswith("refusals:"))


class ServerStatus:
    """Status of one server that started at `began_ns`."""

    def __init__(
        self, counters: Counters, sessions: Sessions, load: Load, slot: PolicySlot, began_ns: int
    ) -> None:
        self._counters, self._sessions, self._load, self._slot = counters, sessions, load, slot
        self._began_ns = began_ns
        self.publish(began_ns)

    def publish(self, now_ns: int) -> None:
        """Publish liveness, load and readiness."""
        self._counters.set("turned_ns", now_ns)
        self._counters.set("sessions", len(self._sessions))
        self._counters.set("load_permille", round(1000 * self._load.value))
        ready = not self._sessions.full and self._load.meets_deadlines and not self._counters["endpoint_closed"]
        self._counters.set("ready", int(ready))
        self._counters.set("policy_epoch", self._slot.epoch)

    def count(self, message: messages.Message) -> None:
        """Count a sent message."""
        if isinstance(message, messages.Action):
            self._counters.add("actions")
            self._counters.add("inference_ns", message.inferred_ns - message.started_ns)
            if message.status == messages.FAR:
                self._counters.add("far_observations")
        elif isinstance(message, messages.Error):
            self._counters.add(_ERRORS[message.code])

    def health(self, now_ns: int) -> messages.Health:
        """Return the answer to a Ping."""
        self.publish(now_ns)
        counters, serving, shadow = self._counters, self._slot.serving, self._slot.shadow
        health = messages.Health(
            protocol=messages.PROTOCOL,
            ready=counters["ready"],
            policy=serving.manifest.name,
            fingerprint=serving.fingerprint,
            policy_epoch=self._slot.epoch,
            up_ns=now_ns - self._began_ns,
            sessions=len(self._sessions),
            actions=counters["actions"],
            errors=sum(counters[name] for name in _ERRORS.values()),
            dropped=counters["dropped:rate_cap"],
            refusals=sum(counters[name] for name in _REFUSALS),
            skipped=counters["stream_ticks_skipped"],
            inference_ns=counters["inference_ns"],
            fingerprints=self._slot.recent,
            signals=list(serving.manifest.action_names),
        )
        if shadow is None:
            return health
        divergence = shadow.divergence()
        return health._replace(
            shadow=shadow.fingerprint,
            shadow_compared=divergence.compared,
            shadow_dropped=counters["shadow:dropped"],
            shadow_mean=messages.to_bytes(divergence.mean),
            shadow_max=messages.to_bytes(divergence.max),
        )
