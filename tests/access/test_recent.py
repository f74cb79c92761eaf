"""Credentials that were accepted a moment ago."""

from tests.access.token_table import grants

from tidings.access.keys import ApiKeyAuthenticator
from tidings.access.recent import MAX_REMEMBERED, REMEMBERED_S, RecentCredentials
from tidings.access.subjects import Credential, Subject
from tidings.testing.clock import ManualClock
from tidings.testing.loop import ManualLoop

HEADER = b"Bearer secret"


class Remembered:
    """One accepted credential, and a clock."""

    def __init__(self, expires_s: float | None = None) -> None:
        self.clock = ManualClock()
        self.loop = ManualLoop(self.clock)
        self.authenticator = ApiKeyAuthenticator((), self.clock.wall_ns)
        self.recent = RecentCredentials(self.clock.wall_ns, self.loop)
        now_ns = self.clock.wall_ns()
        expires_ns = None if expires_s is None else now_ns + int(expires_s * 1e9)
        self.subject = Subject(name="ada", grants=grants("read data"), expires_ns=expires_ns)
        self.add(HEADER)

    def add(self, header: bytes) -> None:
        self.recent.add(header, Credential("secret", "header"), self.subject, self.authenticator, 0)

    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.loop.run_until_idle()

    def knows(self, header: bytes = HEADER) -> bool:
        found = self.recent.find({b"authorization": header})
        return found is not None and found.subject is self.subject


def test_accepted_credential_is_verified_again_after_ten_seconds() -> None:
    remembered = Remembered()
    remembered.wait(REMEMBERED_S - 0.001)
    remembered.add(b"Bearer another")
    assert remembered.knows()
    assert not remembered.knows(b"Bearer secret ")
    remembered.clock.jump(-3_600)
    remembered.wait(0.001)
    assert not remembered.knows()
    assert len(remembered.recent) == 0
    assert remembered.recent.found == 1
    remembered.add(HEADER)
    remembered.wait(REMEMBERED_S)
    assert not remembered.knows()


def test_credential_is_known_no_longer_than_it_is_valid() -> None:
    remembered = Remembered(expires_s=2)
    remembered.clock.advance(1.999)
    assert remembered.knows()
    remembered.clock.advance(0.001)
    assert not remembered.knows()


def test_changes_end_what_is_known() -> None:
    remembered = Remembered()
    remembered.recent.clear()
    assert not remembered.knows()
    remembered.add(HEADER)
    remembered.authenticator.replace_keys([])
    assert not remembered.knows()


def test_oldest_is_forgotten_beyond_the_limit() -> None:
    remembered = Remembered()
    for number in range(MAX_REMEMBERED):
        remembered.add(b"Bearer %d" % number)
    assert len(remembered.recent) == MAX_REMEMBERED
    assert not remembered.knows()
    assert remembered.knows(b"Bearer 0")


def test_secrets_are_not_shown() -> None:
    remembered = Remembered()
    assert "secret" not in repr(remembered.recent.find({b"authorization": HEADER}))
