"""The environment in which a hub in memory is the one that nobody has to name."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from tempfile import TemporaryDirectory

from tidings.client.url import VARIABLE as URL_VARIABLE
from tidings.testing.producers import producers

_UNSET = ("TIDINGS_TOKEN", "TIDINGS_DISABLED", "TRACEPARENT")
"""What the developer's own shell may say, and a test must not depend on."""
_SPOOL = "TIDINGS_SPOOL"
"""Where producers keep what could not be sent: what is there already is none of a test's business."""


@contextmanager
def default_hub(url: str) -> Iterator[None]:
    """Let `url` be the address of clients and producers that name none, for the length of a block.

    At its end this process's producers send what they have, and let go of their connections.
    """
    with TemporaryDirectory(prefix="tidings-") as spool:
        wanted = {URL_VARIABLE: url, _SPOOL: spool, **dict.fromkeys(_UNSET)}
        before = {name: os.environ.get(name) for name in wanted}
        _set_variables(wanted)
        try:
            yield
        finally:
            process = producers()
            if process is not None:
                process.close()
            _set_variables(before)


def _set_variables(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
