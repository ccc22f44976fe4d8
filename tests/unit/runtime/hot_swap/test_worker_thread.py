"""The worker thread: one job after another, each with its own result or exception."""

import threading

import pytest

from odeploy_runtime.hot_swap.worker_thread import WorkerThread


def test_jobs_run_one_after_another_in_one_lasting_thread() -> None:
    worker, threads, running = WorkerThread("worker"), [], threading.Semaphore()

    def job() -> None:
        assert running.acquire(blocking=False)
        threads.append(threading.current_thread())
        running.release()

    callers = [threading.Thread(target=worker.do, args=(job,)) for _ in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(threads) == 8
    assert len({*threads}) == 1
    assert threads[0].is_alive()
    worker.close(10.0)
    assert not threads[0].is_alive()


def test_results_and_exceptions_return_to_their_caller() -> None:
    worker = WorkerThread("worker")
    assert worker.do(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        worker.do(lambda: 1 // 0)
    assert worker.do(lambda: 8) == 8
    worker.close(10.0)


def test_closing_does_not_wait_for_a_job_that_does_not_end() -> None:
    worker, end = WorkerThread("worker"), threading.Event()
    caller = threading.Thread(target=worker.do, args=(end.wait,))
    caller.start()
    worker.close(0.01)
    assert caller.is_alive()
    end.set()
    caller.join()
