"""A program that forks while it is connected: run with the hub's URL, the descriptor of a pipe, and a mode."""

import os
import signal
import sys

from tidings.client import sync


def main(url: str) -> None:
    client = sync.connect(url)
    client.publish("data:update", {"dataset": "before"})
    if os.fork() == 0:
        # Says that it lives, and lives on without its parent until its own input ends.
        os.write(1, f"{os.getpid()}\n".encode())
        os.read(0, 1)
        os._exit(0)
    signal.pause()


if __name__ == "__main__":
    main(sys.argv[1])
