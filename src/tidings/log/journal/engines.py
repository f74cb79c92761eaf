"""The engines that keep the journal of many machines, by the URL of the journal."""

import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct

from tidings.exceptions import MissingExtra
from tidings.log.journal.snapshots import SnapshotJournal

NATS_SCHEMES = ("nats", "tls")
POSTGRES_SCHEMES = ("postgresql", "postgres")
FORM = "nats://host:4222/NAME or postgresql://host:5432/database"
"""The two forms of URLs, for errors."""


class JournalEngine(Struct, frozen=True):
    """Where a journal is, and how it is opened."""

    label: str
    """The URL without user and password."""
    open: Callable[[], Awaitable[SnapshotJournal]]
    """Connects, creates what does not exist, and returns the journal. Raises LogError."""


def find_engine(url: str, *, credentials: Path | None = None, ca: Path | None = None) -> JournalEngine:
    """Return the engine of a URL. Nothing is connected yet.

    Args:
        url: The URL; see `jetstream_stream.parse_address` and `postgres.parse_address`.
        credentials: A file with the credentials of a NATS user (`.creds`), or an NKey seed (`.nk`).
        ca: A file with the certificates (PEM) that verify the servers of NATS; None for those of the system.

    Raises:
        ValueError: The URL is not valid, or a file is, or does not belong to the engine.
        MissingExtra: The driver of the engine is not installed.
    """
    try:
        scheme = urlsplit(url).scheme
    except ValueError:
        scheme = ""
    if scheme in NATS_SCHEMES:
        return _find_jetstream(url, credentials, ca)
    if scheme in POSTGRES_SCHEMES:
        if credentials is not None or ca is not None:
            raise ValueError(
                "files with credentials or certificates are for NATS: PostgreSQL has sslrootcert=… in the"
                " URL, and the variables PGPASSWORD and PGPASSFILE"
            )
        return _find_postgres(url)
    raise ValueError(f"expected {FORM}")


def _find_jetstream(url: str, credentials: Path | None, ca: Path | None) -> JournalEngine:
    try:
        from tidings.log.journal.jetstream import open_jetstream
        from tidings.log.journal.jetstream_stream import parse_address
    except ModuleNotFoundError as missing:
        raise MissingExtra(f"a journal in NATS needs {missing.name}, which is not installed", extra="nats") from missing
    address = parse_address(url)
    if credentials is not None and not credentials.is_file():
        raise ValueError(f"there is no file {credentials}")
    try:
        tls = ssl.create_default_context(cafile=ca) if ca is not None or url.startswith("tls:") else None
    except OSError as cause:
        raise ValueError(f"{ca} has no certificates (PEM): {cause}") from cause

    async def open() -> SnapshotJournal:
        return await open_jetstream(address, credentials="" if credentials is None else str(credentials), tls=tls)

    return JournalEngine(str(address), open)


def _find_postgres(url: str) -> JournalEngine:
    try:
        from tidings.log.journal.postgres import open_postgres, parse_address
    except ModuleNotFoundError as missing:
        raise MissingExtra(
            f"a journal in PostgreSQL needs {missing.name}, which is not installed", extra="postgres"
        ) from missing
    address = parse_address(url)

    async def open() -> SnapshotJournal:
        return await open_postgres(address)

    return JournalEngine(str(address), open)
