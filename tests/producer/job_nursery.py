"""Starts jobs as processes, each forked from one that has imported all the code already.

Reads commands on stdin, one per line: ``work URL LEASE ID`` starts a job that reports until it is killed, ``hog URL
LEASE ID SECONDS`` one that holds the GIL for SECONDS and then completes. Prints the pid of each job.
"""

import ctypes
import itertools
import os
import signal
import sys
import time

import tidings

# The modules that a job would import with its first report, imported once for all jobs.
import tidings.client.websocket
import tidings.producer.operation
import tidings.producer.outbox.outbox
from tidings.producer.runtime import RUNTIME


def work(url: str, lease_s: float, id: str) -> None:
    op = tidings.start("work", id=id, url=url, lease_s=lease_s, quiet=True)
    for number in itertools.count():
        op.progress(number % 100)
        time.sleep(0.02)


def hog(url: str, lease_s: float, id: str, seconds: int) -> None:
    with tidings.operation("hog", id=id, url=url, lease_s=lease_s, quiet=True) as op:
        op.progress(10, "begun")
        RUNTIME.flush(60.0)  # the hub has the start; from here on no other thread runs
        ctypes.PyDLL(None).sleep(seconds)


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        what, url, lease_s, id, *more = line.split()
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.close(0)
            # One spool each; otherwise live jobs would send the spools of dead ones, ten at a time.
            os.environ["TIDINGS_SPOOL"] = os.path.join(os.environ["TIDINGS_SPOOL"], id)
            if what == "work":
                work(url, float(lease_s), id)
            else:
                hog(url, float(lease_s), id, int(more[0]))
            sys.exit()
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
