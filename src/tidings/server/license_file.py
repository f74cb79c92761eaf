"""The license of a running hub: its file is read again when it changes, and nodes share the one issued last."""

from pathlib import Path
from typing import Final

import structlog
from msgspec import Struct

from tidings.access.audit import AuditOutcome, AuditTrail
from tidings.access.license import License, read_license_file, read_public_key, verify_license
from tidings.access.private_files import FileStamp, file_stamp
from tidings.exceptions import TidingsError
from tidings.hub.clock import Clock
from tidings.hub.config import DEFAULT_LICENSE_GRACE_S
from tidings.hub.interfaces import LICENSE_EXPIRED_CLOSE
from tidings.hub.licensing import LicenseTerm, LicenseWatch
from tidings.protocol.codes import error_data
from tidings.server.cluster.notes import NoteExchange
from tidings.server.running_hub import RunningHub

_NOTE: Final = "license"

log = structlog.get_logger("tidings.server.license_file")


class _Current(Struct, frozen=True):
    """The license in force."""

    text: bytes
    """The contents of its file."""
    license: License

    @property
    def term(self) -> LicenseTerm:
        found = self.license
        return LicenseTerm(license_id=found.license_id, subject=found.subject, expires_ns=found.expires_ns)


class LicenseFile:
    """A license file, and the public key that verifies it.

    Args:
        path: The license.
        public_key: PEM file of the issuer's Ed25519 key.
        grace_s: How long an expired license still allows reading, in seconds.
        clock: The machine's clocks.

    Raises:
        InvalidLicense: The license or the key is damaged or cannot be read.
        LicenseOfAnotherKey: The license was signed with another key.
        LicenseNotYetValid: The license has not begun, or the clock is wrong.
        UnsafeFile: Other users can change the license or the key.
    """

    def __init__(self, path: Path, public_key: Path, *, clock: Clock, grace_s: float = DEFAULT_LICENSE_GRACE_S) -> None:
        self._path = path
        self._public_key = public_key
        self._grace_s = grace_s
        self._stamp: tuple[FileStamp | None, FileStamp | None] = (None, None)
        self._watch: LicenseWatch | None = None
        self._audit: AuditTrail | None = None
        self._notes: NoteExchange | None = None
        self._current = self._read(clock.wall_ns())

    def watch(self, running: RunningHub, notes: NoteExchange | None = None) -> None:
        """Apply the license to a hub that has just started.

        Args:
            running: The hub.
            notes: The notes to other nodes with a file each: the license that was issued last holds on all of them.
        """
        self._audit = running.hub.audit

        def close_all(reason: str) -> None:
            retry_ms = running.hub.config.license_retry_ms
            running.connections.close_all(LICENSE_EXPIRED_CLOSE, reason, retry_after_ms=retry_ms)
            running.long_polls.release()

        self._watch = LicenseWatch(
            running.hub, self._current.term, grace_s=self._grace_s, refresh=self._refresh, on_over=close_all
        )
        self._watch.start()
        if notes is not None:
            self._notes = notes
            notes.receivers[_NOTE] = self._receive
            self._tell_others()

    def reload(self) -> None:
        """Read the file, and replace the license.

        Raises:
            ConfigError: The file cannot be used; see the class. The old license stays.
        """
        assert self._watch is not None
        self._current = self._read(self._watch.now_ns())
        self._watch.renew(self._current.term)
        self._tell_others()

    # The other nodes.

    def _tell_others(self) -> None:
        if self._notes is not None:
            self._notes.tell(_NOTE, self._current.text)

    def _receive(self, number: int, text: bytes) -> None:
        """Use the license of another node if it was issued later than this one; send this one if it was earlier."""
        assert self._watch is not None
        try:
            key = read_public_key(self._public_key)
            found = verify_license(text, "of another node", key, self._watch.now_ns())
        except TidingsError as error:
            hint = error_data(error).hint
            log.warning("the license of another node is refused", code=error.code, error=str(error), hint=hint)
            return
        if found.issued_ns < self._current.license.issued_ns:
            self._tell_others()
        elif found.issued_ns > self._current.license.issued_ns:
            self._current = _Current(text, found)
            self._watch.renew(self._current.term)
            self._record("accepted")
            log.info(
                "the license of another node is used: it was issued later",
                license_id=found.license_id,
                subject=found.subject,
                file=str(self._path),
            )

    def _refresh(self) -> None:
        if self._stamp == self._stamps():
            return
        try:
            self.reload()
        except TidingsError as error:
            self._record("refused", code=error.code)
            log.warning(
                "the changed license is refused: the old one stays in use",
                code=error.code,
                error=str(error),
                hint=error_data(error).hint,
            )
        else:
            self._record("accepted")
            term = self._current.term
            log.info("license reloaded", license_id=term.license_id, subject=term.subject)

    def _record(self, outcome: AuditOutcome, *, code: str | None = None) -> None:
        if self._audit is not None:
            self._audit.record("reload", outcome, part="license", code=code)

    def _stamps(self) -> tuple[FileStamp | None, FileStamp | None]:
        return file_stamp(self._path), file_stamp(self._public_key)

    def _read(self, now_ns: int) -> _Current:
        self._stamp = self._stamps()  # before reading: a change in between is read again
        key = read_public_key(self._public_key)
        text = read_license_file(self._path)
        return _Current(text, verify_license(text, str(self._path), key, now_ns))
