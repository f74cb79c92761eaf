"""Tests of `Log.revocations`: in force immediately, kept when a log is opened again, and removed when they may be."""

import pytest

from tidings.exceptions import LimitExceeded, LogError
from tidings.log import revocations
from tidings.log.base import Log, Retention
from tidings.log.revocations import Revocation
from tidings.testing.log_conformance.durability import CLOSED_OR_KILLED, reopen_log
from tidings.testing.log_conformance.harness import EventFactory, LogHarness


def _revoke(harness: LogHarness, log: Log, revocation: Revocation) -> None:
    results: list[Revocation | LogError] = []
    log.revoke(revocation, results.append)
    assert log.revocations.find(revocation.kind, revocation.name) is not None, "in force before it is stored"
    harness.settle()
    assert results == [log.revocations.find(revocation.kind, revocation.name)]


def _names(log: Log) -> list[str]:
    return sorted(f"{row.kind} {row.name}" for row in log.revocations)


class RevocationTests:
    """Tests of `Log.revocations` for any adapter."""

    def test_revocation_covers_what_was_issued_before_it(self, harness: LogHarness) -> None:
        log = harness.open(Retention())
        _revoke(harness, log, Revocation(kind="subject", name="ada", issued_before_ns=100))
        _revoke(harness, log, Revocation(kind="credential", name="ada", issued_before_ns=50))
        row = log.revocations.find("subject", "ada")
        assert row is not None
        assert [row.covers(issued_ns) for issued_ns in (None, 99, 100)] == [True, True, False]
        assert log.revocations.find("subject", "bob") is None
        assert _names(log) == ["credential ada", "subject ada"]

    def test_revoking_again_extends_the_first_revocation(self, harness: LogHarness) -> None:
        log = harness.open(Retention())
        for issued_before_ns, kept_until_ns in ((100, 500), (90, 600), (110, 400)):
            row = Revocation(kind="subject", name="ada", issued_before_ns=issued_before_ns, kept_until_ns=kept_until_ns)
            _revoke(harness, log, row)
        assert list(log.revocations) == [
            Revocation(kind="subject", name="ada", issued_before_ns=110, kept_until_ns=600)
        ]
        _revoke(harness, log, Revocation(kind="subject", name="ada", issued_before_ns=1))
        assert [row.kept_until_ns for row in log.revocations] == [None]

    def test_revocation_leaves_when_all_credentials_have_expired(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention()), EventFactory()
        harness.maintain(log, make.now_ns)
        soon, later = make.now_ns + 10 * 10**9, make.now_ns + 20 * 10**9
        for name, kept_until_ns in (("soon", soon), ("extended", soon), ("later", later), ("never", None)):
            _revoke(
                harness,
                log,
                Revocation(kind="credential", name=name, issued_before_ns=1, kept_until_ns=kept_until_ns),
            )
        _revoke(harness, log, Revocation(kind="credential", name="extended", issued_before_ns=1, kept_until_ns=later))
        harness.maintain(log, make.advance(9))
        assert len(log.revocations) == 4
        harness.maintain(log, make.advance(1))
        assert _names(log) == ["credential extended", "credential later", "credential never"]
        harness.maintain(log, make.advance(10))
        assert _names(log) == ["credential never"]

    def test_revocations_are_bounded(self, harness: LogHarness, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(revocations, "MAX_REVOCATIONS", 2)
        log = harness.open(Retention())
        for name in ("a", "b", "a"):
            _revoke(harness, log, Revocation(kind="credential", name=name, issued_before_ns=1))
        with pytest.raises(LimitExceeded, match="keeps no more"):
            log.revoke(Revocation(kind="credential", name="c", issued_before_ns=1), lambda result: None)


class ReopenedRevocationTests:
    """Tests of `Log.revocations` of a log that is opened again."""

    @CLOSED_OR_KILLED
    def test_revocations_are_equal_after_reopening(self, harness: LogHarness, killed: bool) -> None:
        log, make = harness.open(Retention()), EventFactory()
        harness.maintain(log, make.now_ns)
        end = make.now_ns + 10**9
        _revoke(harness, log, Revocation(kind="subject", name="ada: €", issued_before_ns=100))
        _revoke(harness, log, Revocation(kind="subject", name="ada: €", issued_before_ns=200))
        _revoke(harness, log, Revocation(kind="credential", name="kept", issued_before_ns=1, kept_until_ns=end + 1))
        _revoke(harness, log, Revocation(kind="credential", name="gone", issued_before_ns=1, kept_until_ns=end))
        harness.maintain(log, make.advance(1))
        before = sorted(log.revocations, key=lambda row: row.name)
        assert [row.name for row in before] == ["ada: €", "kept"]
        again = reopen_log(harness, log, Retention(), killed=killed)
        assert sorted(again.revocations, key=lambda row: row.name) == before
        harness.maintain(again, make.advance(1))
        assert _names(again) == ["subject ada: €"]
