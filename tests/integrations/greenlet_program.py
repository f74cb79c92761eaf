"""Fifty greenlets at a time, each with an operation of its own. Run with `python -m gevent.monkey`, which patches."""

import sys

import gevent
from gevent.event import Event
from gevent.pool import Pool

import tidings
from tidings.tqdm import tqdm

JOBS = 50


def work(number: int) -> None:
    """Report as a task of a pool does; the last job waits to be cancelled, and every tenth fails."""
    with tidings.operation("Job", id=f"job-{number}") as op:
        with op.step(f"first {number}"):
            for line in range(3):
                gevent.sleep(0.001)
                op.log(f"line {line} of {number}")
        for _ in tqdm(range(3), desc=f"second {number}", disable=None):
            gevent.sleep(0.001)
        assert tidings.current_operation() is op
        if number % 10 == 0:
            raise LookupError(f"nothing for {number}")
        if number == JOBS - 1:
            waiting.set()
            while True:
                gevent.sleep(0.01)
                op.progress(50)


def settle(number: int) -> str:
    """Run a job and return how it ended."""
    try:
        work(number)
    except (LookupError, tidings.OperationCancelled) as error:
        return type(error).__name__
    return "complete"


waiting = Event()
if __name__ == "__main__":
    pool = Pool(JOBS)
    jobs = pool.map_async(settle, range(JOBS))
    waiting.wait()
    sys.stdout.write("waiting\n")
    sys.stdout.flush()
    sys.stdout.write(" ".join(jobs.get()))
