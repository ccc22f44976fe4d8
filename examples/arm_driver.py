"""A motor's driver as its maker delivers it, with a thread and a clock of its own. The motor is simulated."""

import threading
import time


class Driver:
    """Attributes: torque, the command [N·m]; sample, the newest (time [ns], angle [rad], velocity [rad/s])."""

    def __init__(self) -> None:
        self.torque, self.sample, self._closed = 0.0, (time.monotonic_ns(), 1.0, 0.0), threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while not self._closed.wait(0.0005):
            (then_ns, angle, velocity), now_ns = self.sample, time.monotonic_ns()
            dt = min(1e-9 * (now_ns - then_ns), 0.01)
            velocity += dt * 20 * (self.torque - 0.1 * velocity)
            self.sample = now_ns, angle + dt * velocity, velocity

    def close(self) -> None:
        """Stop; a real one also removes the torque."""
        self._closed.set()
