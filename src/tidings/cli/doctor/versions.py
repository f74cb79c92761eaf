"""Which versions this machine has of what matters."""

import platform
import sqlite3
from importlib import metadata

from tidings.version import __version__

_LIBRARIES = ("msgspec", "websockets", "uvloop", "uvicorn", "starlette")


def versions() -> dict[str, str]:
    """Return the version of each part; "not installed" where it is none."""
    found = {
        "tidings": __version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": platform.platform(terse=True),
        "sqlite": sqlite3.sqlite_version,
    }
    for library in _LIBRARIES:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            found[library] = "not installed"
    return found
