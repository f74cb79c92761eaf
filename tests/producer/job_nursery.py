"""Jobs as processes of their own, each forked from one that has read all the code already.

Reads orders on stdin, a line each: ``work URL LEASE ID`` begins a job that reports until it is killed, ``hog URL LEASE
ID SECONDS`` one that holds the interpreter's lock for so long and then completes. Answers with the job's pid.
"""

import ctypes
import itertools
import os
import signal
import sys
import time

import tidings

# What a job would import when it first reports: once for all of them.
import tidings.client.websocket
import tidings.producer.operation
import tidings.producer.outbox.outbox


def work(url: str, lease_s: float, id: str) -> None:
    op = tidings.start("work", id=id, url=url, lease_s=lease_s, quiet=True)
    for number in itertools.count():
        op.progress(number % 100)
        time.sleep(0.02)


def hog(url: str, lease_s: float, id: str, seconds: int) -> None:
    with tidings.operation("hog", id=id, url=url, lease_s=lease_s, quiet=True) as op:
        op.progress(10, "begun")
        time.sleep(0.5)  # the start goes out; the rest of the block lets no other thread run
        ctypes.PyDLL(None).sleep(seconds)


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        what, url, lease_s, id, *more = line.split()
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.close(0)
            # Each its own: or the living would bring in what the dead have left, ten at a time.
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
