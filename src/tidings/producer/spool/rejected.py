"""Events of dead producers that no hub accepts: set aside in a file, so that they do not hold up those behind them."""

import logging
import os
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from tidings.client.drafts import Draft
from tidings.exceptions import CommandRefused, TidingsError
from tidings.protocol.timestamps import from_nanoseconds

logger = logging.getLogger(__name__)

REJECTED = ".rejected"
"""Suffix of a file with the events of one producer that the hub rejected, beside its spool file."""
_MODE = 0o600
"""Readable by the user only, as the spool is."""


class RejectedEvent(Struct, frozen=True, kw_only=True):
    """One line of such a file."""

    rejected: str
    """When it was set aside, RFC 3339."""
    code: str
    """The error code."""
    message: str
    event: Draft


def set_aside(spool_file: Path, draft: Draft, error: TidingsError) -> Path:
    """Append an event and the error to the file of rejected events beside `spool_file`; return that file.

    Raises:
        OSError: It cannot be written.
    """
    path = spool_file.with_suffix(REJECTED)
    code = error.refusal if isinstance(error, CommandRefused) else error.code
    line = RejectedEvent(rejected=from_nanoseconds(time.time_ns()), code=code, message=error.message, event=draft)
    text = msgspec.json.encode(line) + b"\n"
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), _MODE)
    try:
        # Half a line, left by a full disk, is ended first: otherwise it would spoil this one.
        if os.lseek(file, 0, os.SEEK_END) and os.lseek(file, -1, os.SEEK_END) >= 0 and os.read(file, 1) != b"\n":
            text = b"\n" + text
        if os.write(file, text) < len(text):
            raise OSError(f"wrote only a part of an event to {path}")
    finally:
        os.close(file)
    logger.warning("the hub rejects an event of a dead producer, which is in %s now: %s", path, error)
    return path
