"""The audit trail: who did what, from where, and with what outcome (docs/access.md, "Audit").

A record holds no payload and no secret. Each is a line of the log (logger `tidings.audit`), and goes to the sinks: a
file, and the events that administrators read.
"""

import contextlib
import os
from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec
import structlog
from msgspec import Struct

from tidings.exceptions import ConfigError
from tidings.protocol.timestamps import from_nanoseconds
from tidings.redaction import redact_text

AuditAction = Literal["connect", "request", "publish", "cancel", "revoke", "ticket", "key", "reload", "admin", "audit"]
"""The action. `request` is a request over HTTP, or a command over a WebSocket, that was refused or broken off, `audit`
the trail itself."""
AuditOutcome = Literal["accepted", "refused", "ended", "lost"]
"""`ended` is a session whose right was lost, `lost` a number of records that could not be written."""

MAX_REFUSALS_PER_S: Final = 20
"""Records of refusals of one action that are written in a second; the next record counts the others."""
_MAX_VALUE_CHARS: Final = 256
"""Characters of a fact: ids and paths have at most 255."""
_MODE: Final = 0o600

log = structlog.get_logger("tidings.audit")


class AuditRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One record."""

    at: str
    """Time of the hub's clock, RFC 3339 in UTC."""
    action: AuditAction
    outcome: AuditOutcome
    subject: str = ""
    """Name of the subject; "" where the hub did not identify one."""
    address: str = ""
    """Address of the client; "" where it is not known."""
    not_recorded: int = 0
    """Refusals of this action since the last record that were not recorded."""
    facts: dict[str, str | int] = {}
    """Further facts: `code`, `transport`, `path`, `type`, `operation_id`, `connection_id`."""


class AuditTrail:
    """Writes the records of one hub. A sink that fails stops nothing.

    Args:
        wall_ns: Returns nanoseconds since 1970.
        now_s: A clock in seconds that does not jump.
    """

    def __init__(self, wall_ns: Callable[[], int], now_s: Callable[[], float]) -> None:
        self._wall_ns = wall_ns
        self._now_s = now_s
        self._samples: dict[AuditAction, _Sample] = {}
        self.sinks: list[Callable[[AuditRecord], None]] = []
        """Called with each record."""

    def record(
        self,
        action: AuditAction,
        outcome: AuditOutcome,
        *,
        subject: str = "",
        address: str = "",
        **facts: str | int | None,
    ) -> None:
        """Record what `subject` did; refusals beyond `MAX_REFUSALS_PER_S` are only counted.

        Args:
            action: The action.
            outcome: Its outcome.
            subject: Its name.
            address: Its address.
            facts: Further facts; None is left out, a long one is cut, and keys and tokens in one are redacted. Never a
                payload.
        """
        not_recorded = 0
        if outcome == "refused":
            sample = self._samples.setdefault(action, _Sample())
            if not sample.allows(self._now_s()):
                return
            not_recorded, sample.skipped = sample.skipped, 0
        record = AuditRecord(
            at=from_nanoseconds(self._wall_ns()),
            action=action,
            outcome=outcome,
            subject=_cut(subject),
            address=_cut(address),
            not_recorded=not_recorded,
            facts={name: _shown(value) if isinstance(value, str) else value for name, value in _present(facts)},
        )
        log.info(action, **{name: value for name, value in _line(record).items() if name not in ("at", "action")})
        for sink in self.sinks:
            try:
                sink(record)
            except Exception:
                log.exception("an audit sink failed")


class _Sample:
    """Which refusals of one action are recorded."""

    __slots__ = ("_recorded", "_second", "skipped")

    def __init__(self) -> None:
        self._second = -1.0
        self._recorded = 0
        self.skipped = 0

    def allows(self, now_s: float) -> bool:
        if now_s - self._second >= 1.0:
            self._second, self._recorded = now_s, 0
        self._recorded += 1
        if self._recorded <= MAX_REFUSALS_PER_S:
            return True
        self.skipped += 1
        return False


class AuditFile:
    """A file with one JSON object per line, to which records are appended.

    A record that cannot be written, as on a full disk, is lost and counted; the next one that can be written reports
    how many were.

    Args:
        path: The file, created with mode 0600 if it does not exist.
        now: Returns the hub's time, RFC 3339 in UTC.

    Raises:
        ConfigError: The file cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str], now: Callable[[], str]) -> None:
        self._path = path
        self._now = now
        self._file = _open(path)
        self._is_cut = False
        """Whether the file ends with a part of a line."""
        self.lost = 0
        """Records that were lost since the last one that was written."""

    def write(self, record: AuditRecord) -> None:
        """Append a record."""
        lines = b""
        if self.lost:
            lost = AuditRecord(at=self._now(), action="audit", outcome="lost", facts={"records": self.lost})
            lines = encode_record(lost) + b"\n"
        lines += encode_record(record) + b"\n"
        if self._is_cut:
            lines = b"\n" + lines
        try:
            written = os.write(self._file, lines)
        except OSError as error:
            self._count_lost(error.strerror or str(error))
            return
        self._is_cut = written < len(lines)
        if self._is_cut:
            self._count_lost("the disk is full")
        else:
            self.lost = 0

    def reopen(self) -> None:
        """Open the file of this name again, as after its rotation.

        Raises:
            ConfigError: It cannot be opened; the one before stays open.
        """
        opened = _open(self._path)
        self.close()
        self._file, self._is_cut = opened, False

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(OSError):
            os.close(self._file)

    def _count_lost(self, reason: str) -> None:
        if not self.lost:
            log.error("the audit log cannot be written", path=os.fspath(self._path), reason=reason)
        self.lost += 1


def encode_record(record: AuditRecord) -> bytes:
    """Return a record as one line of JSON."""
    return msgspec.json.encode(_line(record))


def _line(record: AuditRecord) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(record)
    facts = fields.pop("facts", {})
    return {**fields, **facts}


def _present(facts: dict[str, str | int | None]) -> list[tuple[str, str | int]]:
    return [(name, value) for name, value in facts.items() if value is not None]


def _shown(text: str) -> str:
    """Return a fact without what looks like a secret: a path or an id may be a key that was put there by mistake."""
    return _cut(redact_text(text))


def _cut(text: str) -> str:
    # Ids and names come from strangers, and may hold half a surrogate pair.
    text = text.encode(errors="replace").decode()
    return text if len(text) <= _MAX_VALUE_CHARS else text[: _MAX_VALUE_CHARS - 1] + "…"


def _open(path: str | os.PathLike[str]) -> int:
    # Without O_NONBLOCK, a pipe that no one reads would stop the hub.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        return os.open(path, flags, _MODE)
    except OSError as cause:
        raise ConfigError(
            f"cannot open the audit log {os.fspath(path)!r}: {cause.strerror or cause}",
            option="audit-log",
            hint="Name a file in a folder that the hub's user may write to.",
        ) from cause
