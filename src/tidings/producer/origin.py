"""Where an operation runs: machine, process, command and user."""

import getpass
import os
import shlex
import socket
import sys

from msgspec import Struct

from tidings.producer.bounded import text


class Origin(Struct, frozen=True, kw_only=True):
    """What `operation:start` says of the process it comes from."""

    host: str
    pid: int
    command: str
    user: str | None


def origin() -> Origin:
    """Return where this process runs."""
    return Origin(host=text(socket.gethostname()), pid=os.getpid(), command=_command(), user=_user())


def _command() -> str:
    return text(shlex.join(sys.orig_argv))


def _user() -> str | None:
    try:
        return text(getpass.getuser())
    except (KeyError, OSError):  # a container's user id may have no name
        return None
