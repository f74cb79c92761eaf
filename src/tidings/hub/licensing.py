"""The license of a hub while it runs: alerts ahead of expiry, refusals after it (docs/access.md, "License").

The log shows which alerts are raised, so each is raised once, also over restarts.
"""

from collections.abc import Callable
from enum import IntEnum
from functools import partial
from typing import Final

import structlog
from msgspec import Struct

from tidings.exceptions import LicenseExpired, TidingsError
from tidings.hub.config import DEFAULT_LICENSE_GRACE_S
from tidings.hub.hub import Hub
from tidings.hub.internal_events import publish_internal
from tidings.protocol.envelope import encode_message
from tidings.protocol.message_types import MessageType
from tidings.protocol.payloads import LicenseExpiredData, SystemAlertData
from tidings.protocol.timestamps import from_nanoseconds

CHECK_S: Final = 1.0
"""Interval at which the license is judged, in seconds; a new file is noticed within it."""
NOTICE_DAYS: Final = (30, 7, 1)
"""Days before expiry at which an alert is raised."""
_EXPIRING: Final = "license_expiring"
_PREFIX: Final = "tidings:license:"
_EXPIRED_ALERT: Final = f"{_PREFIX}expired"
_ALERTS: Final = (_EXPIRED_ALERT, *(f"{_PREFIX}{days}d" for days in NOTICE_DAYS))
_DAY_NS: Final = 86_400 * 10**9

log = structlog.get_logger("tidings.hub.licensing")


class LicenseTerm(Struct, frozen=True, kw_only=True):
    """The holder of a license, and its expiry."""

    license_id: str
    subject: str
    expires_ns: int
    """Time of expiry, nanoseconds since 1970."""


class LicenseState(IntEnum):
    """The rights under a license."""

    VALID = 0
    EXPIRED = 1
    """Reading only."""
    OVER = 2
    """Nothing: the grace has passed."""


class LicenseWatch:
    """Judges the license of one hub on a timer.

    Args:
        hub: The hub.
        term: The license.
        grace_s: How long reading goes on after expiry, in seconds.
        refresh: Called before each judgement; it may call `renew`.
        on_over: Called with the reason when the grace has passed: closes connections, and whatever else waits.
    """

    def __init__(
        self,
        hub: Hub,
        term: LicenseTerm,
        *,
        grace_s: float = DEFAULT_LICENSE_GRACE_S,
        refresh: Callable[[], None] | None = None,
        on_over: Callable[[str], None] | None = None,
    ) -> None:
        self._hub = hub
        self._grace_ns = int(grace_s * 1e9)
        self._refresh = refresh
        self._on_over = on_over
        self.term = term
        self.state = LicenseState.VALID
        self._settling: set[str] = set()
        """Alerts whose raising or clearing is on its way to the log."""
        hub.license = self

    def start(self) -> None:
        """Judge the license now, and again and again."""
        self._judge()
        self._hub.jobs.start("license", CHECK_S, self._check)

    def renew(self, term: LicenseTerm) -> None:
        """Replace the license, for everyone and immediately."""
        if term != self.term:
            self.term = term
            self._judge()

    @property
    def expires_ns(self) -> int:
        """See `HubLicense.expires_ns`."""
        return self.term.expires_ns

    def now_ns(self) -> int:
        """Return the time by which the license is judged, in nanoseconds since 1970."""
        return self._hub.now_ns()

    def check_publish(self) -> None:
        """See `HubLicense.check_publish`."""
        if self.state is not LicenseState.VALID:
            raise self._error()

    def check_read(self) -> None:
        """See `HubLicense.check_read`."""
        if self.state is LicenseState.OVER:
            raise self._error()

    def _error(self) -> LicenseExpired:
        what = "publishing is" if self.state is LicenseState.EXPIRED else "reading and publishing are"
        return LicenseExpired(
            f"the license {self.term.license_id} of this hub expired at {_time(self.term.expires_ns)}: {what} off",
            retry_after_ms=self._hub.config.license_retry_ms,
            hint=f"Renew it; the hub resumes by itself. Its clock shows {_time(self._hub.now_ns())}: set it if it is "
            "wrong.",
        )

    def notice(self) -> bytes | None:
        """See `HubLicense.notice`."""
        if self.state is LicenseState.VALID:
            return None
        hub = self._hub
        return encode_message(
            MessageType.LICENSE_EXPIRED, self._expired_data(), timestamp=hub.timestamp(), trace_id=hub.mint()
        )

    def _expired_data(self) -> LicenseExpiredData:
        until = _time(self.term.expires_ns + self._grace_ns)
        return LicenseExpiredData(
            expired_at=_time(self.term.expires_ns),
            license_id=self.term.license_id,
            message=f"nothing can be published; reading goes on until {until}",
            hint="Ask the administrator of the hub to renew its license.",
        )

    def _check(self) -> None:
        if self._refresh is not None:
            self._refresh()
        self._judge()

    def _judge(self) -> None:
        left_ns = self.term.expires_ns - self._hub.now_ns()
        if left_ns > 0:
            state = LicenseState.VALID
        else:
            state = LicenseState.EXPIRED if left_ns + self._grace_ns > 0 else LicenseState.OVER
        before, self.state = self.state, state
        if state is not before:
            log.log(
                20 if state is LicenseState.VALID else 30,
                ("the license is valid", "the license has expired", "the grace of the license has passed")[state],
                license_id=self.term.license_id,
                subject=self.term.subject,
                expires=_time(self.term.expires_ns),
            )
        self._update_alerts(left_ns)
        if state is LicenseState.OVER and before is not state and self._on_over is not None:
            self._on_over(self._error().message)

    # Alerts.

    def _update_alerts(self, left_ns: int) -> None:
        """Raise the alert of the nearest notice, and clear the others."""
        due: str | None = None
        if left_ns <= 0:
            due = _EXPIRED_ALERT
        elif left_ns <= NOTICE_DAYS[0] * _DAY_NS:
            due = f"{_PREFIX}{min(days for days in NOTICE_DAYS if left_ns <= days * _DAY_NS)}d"
        if not self._hub.leads:  # another process of the hub publishes them
            return
        raised = {alert_id for alert_id in _ALERTS if self._hub.has_event(MessageType.SYSTEM_ALERT, alert_id)}
        for alert_id in raised - {due}:
            self._publish(self._alert(alert_id, left_ns, cleared=True))
        if due is not None and due not in raised and due not in self._settling:
            if due == _EXPIRED_ALERT:
                publish_internal(self._hub, MessageType.LICENSE_EXPIRED, self._expired_data())
            self._publish(self._alert(due, left_ns, cleared=False))

    def _alert(self, alert_id: str, left_ns: int, *, cleared: bool) -> SystemAlertData:
        term = self.term
        if cleared:
            what = "the license has been renewed" if left_ns > 0 else "the license has expired"
        elif left_ns > 0:
            days = -(-left_ns // _DAY_NS)
            what = f"the license {term.license_id} expires in {days} day{'s' if days > 1 else ''}, "
            what += f"at {_time(term.expires_ns)}"
        else:
            what = f"the license {term.license_id} has expired: publishing is off"
        return SystemAlertData(
            alert_id=alert_id,
            severity="info" if cleared else "warning" if left_ns > _DAY_NS else "critical",
            state="cleared" if cleared else "raised",
            code=LicenseExpired.code if alert_id == _EXPIRED_ALERT else _EXPIRING,
            message=what,
            recoverable=True,
            hint=None if cleared else "Put the renewed license in place of the old file; no restart is needed.",
        )

    def _publish(self, alert: SystemAlertData) -> None:
        alert_id = str(alert.alert_id)
        if alert_id in self._settling:
            return
        self._settling.add(alert_id)
        publish_internal(self._hub, MessageType.SYSTEM_ALERT, alert, settled=partial(self._settled, alert_id))

    def _settled(self, alert_id: str, error: TidingsError | None) -> None:
        self._settling.discard(alert_id)  # after an error, the next judgement publishes it again


def _time(unix_ns: int) -> str:
    return from_nanoseconds(unix_ns - unix_ns % 10**9)
