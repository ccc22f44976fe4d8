"""Health checks and metrics over HTTP, in a process of its own.

The pages are /live, /ready, and /metrics for Prometheus.

It reads the counters of a server or a robot from shared memory and shares neither interpreter nor lock with it,
so requests never delay the loop; it also runs at lower priority (nice 10). If it dies, a thread starts it again.
Needs the extra `metrics`.
"""

import contextlib
import importlib.util
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from odeploy_runtime.errors import MissingError, RelayedError, UsageError, first_line
from odeploy_runtime.logging_options import configure, inherited
from odeploy_runtime.realtime.child_process import PIPE, Process, ending, python_module, start
from odeploy_runtime.realtime.clock import Clock, MonotonicClock
from odeploy_runtime.realtime.counters import CounterNames, Counters, shareable
from odeploy_runtime.realtime.token_bucket import TokenBucket

log = logging.getLogger(__name__)

_DEAD_AFTER_NS = 2_000_000_000  # the loop iterates at least four times per second
_NICE, _TIMEOUT_S = 10, 5.0
_LEAST_WAIT_S, _MOST_WAIT_S, _END_S = 1.0, 60.0, 1.0
_FAILURES_HZ, _FAILURES_BURST, _NO_DESCRIPTOR_S = 0.1, 5, 0.05
_BOUND = "bound"
_NOT_READY = {
    "server": "sessions, load or descriptors are at their limit, or streams miss their deadlines",
    "robot": "the guard is in SAFE or STOP",
}


@contextlib.contextmanager
def reported(address: str, names: CounterNames) -> Iterator[Counters]:
    """Yield counters that a child process exposes at `address`.

    Args:
        address: `PORT` on loopback, or `HOST:PORT`.
        names: names of the counters.

    Raises:
        UsageError: not an address.
        RelayedError: it cannot be bound; the child's message is passed on.
        MissingError: prometheus-client is not installed.
    """
    host, port = _parsed(address)
    if importlib.util.find_spec("prometheus_client") is None:
        raise MissingError(
            where="--http",
            expected="the package prometheus-client",
            got="none",
            remedy="run: pip install 'odeploy[metrics]'",
        )
    memory = shareable(names)
    try:
        arguments = str(memory), host, str(port), json.dumps(asdict(names))
        with contextlib.closing(_Supervised(arguments, memory)):
            yield Counters(names, memory)
    finally:
        os.close(memory)


class _Supervised:
    """The child process, started again whenever it dies.

    The waits in between double from 1 s to 1 minute, and begin anew after a minute in which it ran.
    """

    def __init__(self, arguments: Sequence[str], memory: int) -> None:
        self._arguments, self._memory = arguments, memory
        self._closing = threading.Event()
        self._process = self._start()
        self._thread = threading.Thread(target=self._watch, name="http", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._end()
        self._thread.join(_END_S)

    def _start(self) -> Process:
        """Start the process and wait until it has bound its address."""
        command = python_module("odeploy_runtime.realtime.http_metrics", *self._arguments, orphaned=signal.SIGKILL)
        process = start(command, pass_fds=[self._memory], stdin=PIPE, stdout=PIPE)  # ends when its input closes
        assert process.stdout is not None
        line = process.stdout.readline().decode(errors="replace").strip()
        if line == _BOUND:
            return process
        with process:
            raise RelayedError(line or f"--http: expected a process that answers, got {ending(process.wait())}")

    def _watch(self) -> None:
        wait_s = _LEAST_WAIT_S
        while True:
            began_s = time.monotonic()
            status = self._process.wait()
            self._end()
            if time.monotonic() - began_s > _MOST_WAIT_S:
                wait_s = _LEAST_WAIT_S
            lost = f"the process for --http is lost: {ending(status)}"
            while not self._closing.is_set():
                log.warning("%s; starting it again in %g s", lost, wait_s)
                if self._closing.wait(wait_s):
                    break
                wait_s = min(2 * wait_s, _MOST_WAIT_S)
                try:
                    self._process = self._start()
                    log.info("the process for --http answers again")
                    break
                except (OSError, RelayedError) as error:
                    lost = str(error)
            if self._closing.is_set():
                self._end()
                return

    def _end(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()
        self._process.wait()


def status(path: str, counters: Counters, clock: Clock) -> tuple[int, str]:
    """Return the answer of /live or /ready: HTTP status and a line."""
    age_ns = clock.now_ns() - counters["turned_ns"]
    if age_ns > _DEAD_AFTER_NS:
        return 503, f"no iteration of the loop for {age_ns / 1e9:.1f} s"
    if path == "/ready" and not counters["ready"]:
        return 503, _NOT_READY[counters.names.process]
    return 200, "ok"


def exposition(counters: Counters, clock: Clock) -> bytes:
    """Return all counters in Prometheus' text format."""
    from prometheus_client.core import CollectorRegistry, CounterMetricFamily, GaugeMetricFamily
    from prometheus_client.exposition import generate_latest

    class Collector:
        def collect(self) -> Iterator[Any]:
            families: dict[str, Any] = {}
            process = counters.names.process
            for name in counters.names.counters:
                family, _, label = name.partition(":")
                if family not in families:
                    labels = ["kind"] if label else []
                    title = f"odeploy_{process}_{family.replace('_ns', '_seconds')}"
                    families[family] = CounterMetricFamily(
                        title, f"Count since the {process} started.", labels=labels
                    )
                scale = 1e-9 if family.endswith("_ns") else 1
                families[family].add_metric([label] if label else [], counters[name] * scale)
            yield from families.values()
            for name in counters.names.gauges:
                if name != "turned_ns":
                    yield GaugeMetricFamily(f"odeploy_{process}_{name}", "Present value.", value=counters[name])
            age_s = (clock.now_ns() - counters["turned_ns"]) / 1e9
            yield GaugeMetricFamily(
                f"odeploy_{process}_turned_seconds_ago", "Time since the loop's last iteration.", value=age_s
            )

    registry = CollectorRegistry()
    registry.register(Collector())
    text: bytes = generate_latest(registry)
    return text


def handler(counters: Counters, clock: Clock) -> type[BaseHTTPRequestHandler]:
    """Return a request handler that reads the counters."""

    class Handler(BaseHTTPRequestHandler):
        timeout = _TIMEOUT_S  # closes silent connections
        server_version, sys_version = "odeploy", ""

        def do_HEAD(self) -> None:
            """Answer as GET does, without the body."""
            self.do_GET()

        def do_GET(self) -> None:
            """Answer one of three paths."""
            if self.path in ("/live", "/ready"):
                code, line = status(self.path, counters, clock)
                self._answer(code, f"{line}\n".encode(), "text/plain; charset=utf-8")
            elif self.path == "/metrics":
                self._answer(200, exposition(counters, clock), "text/plain; version=0.0.4; charset=utf-8")
            else:
                self._answer(404, b"expected /live, /ready or /metrics\n", "text/plain; charset=utf-8")

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - as http.server names it
            """Log no requests: they come every few seconds."""

        def _answer(self, code: int, body: bytes, kind: str) -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    return Handler


class Server(ThreadingHTTPServer):
    """HTTP server with a thread per request and a long queue."""

    daemon_threads, request_queue_size = True, 128

    def __init__(self, address: tuple[str, int], kind: type[BaseHTTPRequestHandler], clock: Clock) -> None:
        self._clock, self._failures = clock, TokenBucket(_FAILURES_HZ, _FAILURES_BURST)
        super().__init__(address, kind)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; without a free descriptor, wait before the next try."""
        try:
            return super().get_request()
        except OSError:
            time.sleep(_NO_DESCRIPTOR_S)
            raise

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - as http.server names them
        """Log a defect in one line, a few at a time; a peer may leave early."""
        error = sys.exception()
        if error is not None and not isinstance(error, OSError) and self._failures.take(self._clock.now_ns()):
            log.error("a request over HTTP failed: %s: %s", type(error).__name__, first_line(error))


def main(descriptor: int, host: str, port: int, names: CounterNames) -> None:
    """Run the process: answer requests until standard input closes."""
    os.nice(_NICE)
    configure(inherited())
    counters, clock = Counters(names, descriptor), MonotonicClock()
    try:
        server = Server((host, port), handler(counters, clock), clock)
    except OSError as error:
        got = error.strerror or type(error).__name__
        _report(f"--http {host}:{port}: expected a free address, got {got}; give another port")
        return
    threading.Thread(target=server.serve_forever, daemon=True).start()
    _report(_BOUND)
    sys.stdin.read()


def _parsed(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise UsageError(
            where=f"--http {address}",
            expected="PORT or HOST:PORT",
            got="something else",
            remedy="give for example --http 9464, which binds 127.0.0.1",
        )
    return host or "127.0.0.1", int(port)


def _report(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - to the parent


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), CounterNames(**json.loads(sys.argv[4])))
