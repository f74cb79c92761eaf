"""A program that reports and then waits until it is killed. Arguments: URL, operation id, and mode."""

import os
import signal
import sys

from tidings.producer.outbox.outbox import Outbox


def main(url: str, operation_id: str, mode: str) -> None:
    outbox = Outbox(url)
    outbox.put_nowait("operation:start", {"operation_id": operation_id, "name": "import"})
    if mode == "starts":
        assert outbox.flush(20) == 0
        emit("started")
        sys.stdin.readline()
    if mode == "forks":
        assert outbox.flush(20) == 0
        fork(outbox, operation_id)
    for number in range(50):
        outbox.put_nowait("operation:log", {"operation_id": operation_id, "message": str(number)})
    outbox.put_nowait("operation:complete", {"operation_id": operation_id})
    emit("done")
    if mode == "closes":
        emit(str(outbox.close(0.1)))
        return
    signal.pause()


def fork(outbox: Outbox, operation_id: str) -> None:
    """Report from a forked child, too, under an id of its own."""
    parent = outbox.producer_id
    if (pid := os.fork()) == 0:
        status = 1
        try:
            assert outbox.statistics().waiting == 0
            assert outbox.producer_id != parent
            child = f"{operation_id}-child"
            outbox.put_nowait("operation:start", {"operation_id": child})
            outbox.put_nowait("operation:complete", {"operation_id": child})
            status = outbox.close(60, patient=True)
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0


def emit(what: str) -> None:
    os.write(1, f"{what}\n".encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
