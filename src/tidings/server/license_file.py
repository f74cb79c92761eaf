"""The license of a running hub: its file is read again when it changes."""

from pathlib import Path

import structlog

from tidings.access.audit import AuditOutcome, AuditTrail
from tidings.access.license import read_license_file, read_public_key, verify_license
from tidings.access.private_files import FileStamp, file_stamp
from tidings.exceptions import TidingsError
from tidings.hub.clock import Clock
from tidings.hub.config import DEFAULT_LICENSE_GRACE_S
from tidings.hub.interfaces import LICENSE_EXPIRED_CLOSE
from tidings.hub.licensing import LicenseTerm, LicenseWatch
from tidings.server.running_hub import RunningHub

log = structlog.get_logger("tidings.server.license_file")


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
        self._term = self._read(clock.wall_ns())

    def watch(self, running: RunningHub) -> None:
        """Apply the license to a hub that has just started."""
        self._audit = running.hub.audit

        def close_all(reason: str) -> None:
            retry_ms = running.hub.config.license_retry_ms
            running.connections.close_all(LICENSE_EXPIRED_CLOSE, reason, retry_after_ms=retry_ms)
            running.long_polls.release()

        self._watch = LicenseWatch(
            running.hub, self._term, grace_s=self._grace_s, refresh=self._refresh, on_over=close_all
        )
        self._watch.start()

    def reload(self) -> None:
        """Read the file, and replace the license.

        Raises:
            ConfigError: The file cannot be used; see the class. The old license stays.
        """
        assert self._watch is not None
        self._term = self._read(self._watch.now_ns())
        self._watch.renew(self._term)

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
                hint=error.hint,
            )
        else:
            self._record("accepted")
            log.info("license reloaded", license_id=self._term.license_id, subject=self._term.subject)

    def _record(self, outcome: AuditOutcome, *, code: str | None = None) -> None:
        if self._audit is not None:
            self._audit.record("reload", outcome, part="license", code=code)

    def _stamps(self) -> tuple[FileStamp | None, FileStamp | None]:
        return file_stamp(self._path), file_stamp(self._public_key)

    def _read(self, now_ns: int) -> LicenseTerm:
        self._stamp = self._stamps()  # before reading: a change in between is read again
        key = read_public_key(self._public_key)
        found = verify_license(read_license_file(self._path), str(self._path), key, now_ns)
        return LicenseTerm(license_id=found.license_id, subject=found.subject, expires_ns=found.expires_ns)
