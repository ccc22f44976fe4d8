"""Interrupts: raised at the end of a step, a second one at once."""

import os
import signal
import threading

import pytest

from odeploy_train.runs.interrupts import Interrupts


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_raised_at_the_end_and_handlers_are_restored(number: int) -> None:
    before = signal.getsignal(number)
    done = False
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012, SIM117 - the step continues after the signal
        with Interrupts() as interrupts:
            assert not interrupts.asked
            os.kill(os.getpid(), number)
            assert interrupts.asked
            done = True
    assert done
    assert signal.getsignal(number) == before


def test_a_second_signal_is_not_delayed() -> None:
    steps = []
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012, SIM117
        with Interrupts():
            for i in range(3):
                steps.append(i)
                os.kill(os.getpid(), signal.SIGINT)
    assert steps == [0, 1]


def test_an_error_is_not_hidden_by_a_signal() -> None:
    with pytest.raises(ValueError, match="its own"), Interrupts():  # noqa: PT012
        os.kill(os.getpid(), signal.SIGINT)
        raise ValueError("its own")


def test_interrupts_have_no_effect_outside_the_main_thread() -> None:
    seen = []

    def work() -> None:
        with Interrupts() as interrupts:
            seen.append(interrupts.asked)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]
