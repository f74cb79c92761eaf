"""Which extra a library that is not installed belongs to."""

from collections.abc import Mapping

from tidings.exceptions import MissingExtra

_EXTRAS: Mapping[str, str] = {
    "httpx": "cli",
    "platformdirs": "cli",
    "rich": "cli",
    "typer": "cli",
    "httptools": "hub",
    "prometheus_client": "hub",
    "starlette": "hub",
    "structlog": "hub",
    "uvicorn": "hub",
}
"""The libraries of pyproject.toml's extras, by the name they are imported by."""


def missing_extra(error: ModuleNotFoundError) -> MissingExtra | None:
    """Return what to tell of `error`; None where the module that was not found is no library of ours."""
    library = (error.name or "").partition(".")[0]
    extra = _EXTRAS.get(library)
    if extra is None:
        return None
    return MissingExtra(f"this needs {library}, which is not installed", extra=extra)
