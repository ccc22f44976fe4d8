"""One checkout's processes: its server, and its simulated robot that is stopped between its turns."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parents[3]
_START_S = 60.0


@dataclass(frozen=True)
class Clone:
    """A checkout and the Python that runs it."""

    name: str
    folder: Path
    python: Path
    environment: Mapping[str, str]

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of a verb."""
        return [str(self.python), "-P", "-m", "odeploy", *arguments]

    def check(self) -> None:
        """Reject an environment whose odeploy is another checkout's.

        Raises:
            SystemExit: it is, or there is none.
        """
        code = "import odeploy; print(odeploy.__file__)"
        command = [str(self.python), "-P", "-c", code]
        found = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        if not found.stdout.startswith(f"{self.folder}/"):
            raise SystemExit(
                f"{self.folder}: expected an environment .venv with an editable install of this checkout, "
                f"got odeploy from {found.stdout.strip() or 'nowhere'}; run make test there once"
            )

    @contextlib.contextmanager
    def serving(self, file: Path, folder: Path, *extra: str) -> Iterator[str]:
        """Run the checkout's server, with `extra` options; yield its endpoint once it is bound."""
        socket = folder / f"{self.name}.ipc"
        command = self.command("serve", str(file), "--endpoint", f"ipc://{socket}", *extra)
        with _running(command, self.environment, folder / f"{self.name}-server.log") as process:
            _wait_for(socket, process, folder / f"{self.name}-server.log")
            yield f"ipc://{socket}"

    @contextlib.contextmanager
    def simulating(
        self, task: str, endpoint: str, rate_hz: float, trace: Path, *extra: str
    ) -> Iterator["SimulatedRobot"]:
        """Run the checkout's `odeploy sim` in real time, stopped; its trace is complete on the way out."""
        options = ["--mode", "realtime", "--rate", f"{rate_hz:g}", "--episodes", "1000000", "--rearm-after", "1"]
        command = self.command("sim", task, "--endpoint", endpoint, *options, *extra, "--trace", str(trace))
        log = trace.with_suffix(".log")
        with _running(command, self.environment, log) as process:
            _wait_for(trace, process, log)
            time.sleep(1.0)  # the first ticks
            robot = SimulatedRobot(process)
            robot.stop()
            yield robot
            process.send_signal(signal.SIGCONT)


class SimulatedRobot:
    """A running `odeploy sim`."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    def turn(self, seconds: float) -> tuple[int, int]:
        """Let it run for a while; return begin and end [ns, CLOCK_MONOTONIC]."""
        if self._process.poll() is not None:
            raise RuntimeError(f"odeploy sim ended with status {self._process.returncode}")
        begin_ns = time.monotonic_ns()
        self._process.send_signal(signal.SIGCONT)
        time.sleep(seconds)
        self.stop()
        return begin_ns, begin_ns + round(seconds * 1e9)

    def stop(self) -> None:
        """Stop it at once. The session may expire in between; the robot then sends Hello again."""
        self._process.send_signal(signal.SIGSTOP)


def this_checkout() -> Clone:
    """Return this checkout, run by the Python that runs this tool."""
    return Clone("ours", HERE, Path(sys.executable), dict(os.environ))


def other_checkout(folder: Path) -> Clone:
    """Return another checkout, run by the environment in its `.venv`."""
    folder = folder.resolve()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return Clone("theirs", folder, folder / ".venv/bin/python", environment)


@contextlib.contextmanager
def _running(
    command: Sequence[str], environment: Mapping[str, str], log: Path
) -> Iterator["subprocess.Popen[bytes]"]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, cwd=log.parent, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(path: Path, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while not path.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"{log.stem}: did not start\n{log.read_text()}")
        time.sleep(0.05)
