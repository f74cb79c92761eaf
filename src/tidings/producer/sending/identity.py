"""Who a producer is, to the hub."""

import os
import re
import secrets
import socket

_MOST_HOST = 24
_UNFIT = re.compile(r"[^A-Za-z0-9.-]")


def new_producer_id() -> str:
    """Return a new producer id: a person can read host and process in it, and no two are the same.

    1–64 printable ASCII characters without spaces (CONTRACT §4): at most 24 + 1 + 10 + 1 + 16.
    """
    host = _UNFIT.sub("-", socket.gethostname())[:_MOST_HOST] or "unnamed"
    return f"{host}.{os.getpid()}.{secrets.token_hex(8)}"
