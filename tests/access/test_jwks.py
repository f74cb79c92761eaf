import logging
from collections.abc import Mapping
from typing import Any

import pytest
from tests.access.tokens import SECRET, jwk, jwk_set

from tidings.access import jwks
from tidings.access.fetching import Answered, HttpAnswer
from tidings.access.jwks import RemoteKeys
from tidings.access.tokens import TokenHeader
from tidings.exceptions import AccessError, AuthenticationUnavailable, ConfigError
from tidings.testing.clock import ManualClock
from tidings.testing.loop import ManualLoop

URL = "https://issuer.example/jwks.json"
OLD, NEW = TokenHeader("ES256", "old"), TokenHeader("ES256", "new")
OLD_SET, NEW_SET = jwk_set(jwk("ES256", kid="old")), jwk_set(jwk("ES256", kid="new"))


class Issuer:
    """A server whose answers a test gives."""

    def __init__(self) -> None:
        self.asked: list[Answered] = []
        self.requests = 0

    def __call__(self, url: str, headers: Mapping[str, str], answered: Answered, /) -> None:
        assert url == URL
        self.requests += 1
        self.asked.append(answered)

    def answer(self, body: bytes, status: int = 200) -> None:
        self.asked.pop()(HttpAnswer(status, {}, body))

    def fail(self) -> None:
        self.asked.pop()(AuthenticationUnavailable("connection refused"))


class World:
    def __init__(self, **options: Any) -> None:
        self.clock = ManualClock()
        self.loop = ManualLoop(self.clock)
        self.issuer = Issuer()
        self.keys = RemoteKeys(URL, self.issuer, monotonic=self.clock.monotonic, scheduler=self.loop, **options)
        self.keys.start()

    def find(self, header: TokenHeader) -> list[str]:
        """Return a list that gets the outcome: the ids of the keys, or the code of the error."""
        outcome: list[str] = []
        self.keys.find(
            header,
            lambda found: outcome.append(
                found.code if isinstance(found, AccessError) else ",".join(str(key.kid) for key in found)
            ),
        )
        return outcome


def test_tokens_wait_for_the_first_fetch() -> None:
    world = World()
    waiting = world.find(OLD)
    assert waiting == []
    world.issuer.answer(OLD_SET)
    assert waiting == ["old"]
    assert world.find(OLD) == ["old"]
    assert world.issuer.requests == 1


def test_unreachable_issuer_at_start_is_asked_again_with_growing_delay(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    waiting = world.find(OLD)
    world.issuer.fail()
    assert waiting == ["authentication_unavailable"]
    assert world.find(OLD) == ["authentication_unavailable"], "it does not wait for the next attempt"
    assert "until then no token can be verified" in caplog.text
    delays = []
    for _ in range(9):
        began = world.clock.now
        while not world.issuer.asked:
            world.loop.advance(0.5)
        delays.append(round(world.clock.now - began))
        world.issuer.fail()
    assert delays == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert not world.keys.is_usable
    world.loop.advance(60)
    world.issuer.answer(OLD_SET)
    assert world.find(OLD) == ["old"]
    assert (world.keys.failures, world.keys.failures_total) == (0, 10)


def test_old_keys_stay_valid_during_an_outage_for_a_time(caplog: pytest.LogCaptureFixture) -> None:
    world = World(max_stale_s=3_600.0)
    world.issuer.answer(OLD_SET)
    for _ in range(100):
        world.loop.advance(35)
        if world.issuer.asked:
            world.issuer.fail()
    assert "the old keys stay valid" in caplog.text
    assert world.find(OLD) == ["old"]
    world.loop.advance(101)
    if world.issuer.asked:
        world.issuer.fail()
    assert world.find(OLD) == ["authentication_unavailable"]
    assert not world.keys.is_usable
    while not world.issuer.asked:
        world.loop.advance(1)
    world.issuer.answer(NEW_SET)
    assert world.find(NEW) == ["new"]


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b'{"keys": []}', b'{"keys": 7}', jwk_set({"kty": "XYZ"}), b"[" * 100_000]
)
def test_nonsense_from_the_issuer_keeps_the_old_keys(body: bytes) -> None:
    world = World()
    world.issuer.answer(OLD_SET)
    world.loop.advance(600)
    world.issuer.answer(body)
    assert world.find(OLD) == ["old"]
    assert world.keys.failures == 1


def test_error_status_of_the_issuer_keeps_the_old_keys() -> None:
    world = World()
    world.issuer.answer(OLD_SET)
    world.loop.advance(600)
    world.issuer.answer(NEW_SET, status=500)
    assert world.find(OLD) == ["old"]


def test_withdrawn_key_is_refused_after_the_next_fetch() -> None:
    world = World()
    world.issuer.answer(OLD_SET)
    world.loop.advance(600)
    world.issuer.answer(NEW_SET)
    assert world.find(NEW) == ["new"]
    assert world.find(OLD) == ["unknown_signing_key"]


def test_withdrawal_of_a_key_is_reported_and_an_added_key_is_not() -> None:
    reports: list[str] = []
    world = World(withdrawn=lambda: reports.append("withdrawn"))
    for body, expected in (
        (OLD_SET, 0),
        (OLD_SET, 0),
        (jwk_set(jwk("ES256", kid="old"), jwk("ES384", kid="new")), 0),
        (b"<html>", 0),
        (jwk_set(jwk("ES384", kid="new")), 1),
        (jwk_set(jwk("ES512", kid="new")), 2),
    ):
        world.issuer.answer(body)
        assert len(reports) == expected
        world.keys.refresh()


def test_unknown_key_is_fetched_at_most_every_cooldown() -> None:
    world = World()
    world.issuer.answer(OLD_SET)
    waiting = [world.find(NEW) for _ in range(100)]
    assert (world.issuer.requests, waiting) == (2, [[]] * 100)
    assert world.find(OLD) == ["old"], "others do not wait"
    world.issuer.answer(NEW_SET)
    assert waiting == [["new"]] * 100
    for number in range(1_000):
        assert world.find(TokenHeader("ES256", f"forged {number}")) == ["authentication_unavailable"]
    assert world.find(TokenHeader("HS256", None)) == ["wrong_algorithm"], "no set may have a secret"
    assert world.issuer.requests == 2
    world.loop.advance(30)
    assert world.find(TokenHeader("ES384", None)) == [], "another algorithm may be a new key, too"
    world.issuer.answer(NEW_SET)
    assert world.issuer.requests == 3


def test_token_is_refused_only_after_a_fetch_that_ended_later() -> None:
    """A refusal ends a client; a key may be newer than the set."""
    world = World()
    early = world.find(NEW)
    world.issuer.answer(OLD_SET)
    assert early == ["unknown_signing_key"]
    late = world.find(TokenHeader("ES256", "forged"))
    world.issuer.answer(OLD_SET)
    assert late == world.find(TokenHeader("ES256", "forged")) == ["unknown_signing_key"]
    assert world.find(NEW) == ["authentication_unavailable"], "it was published meanwhile, as far as the hub knows"
    world.loop.advance(30)
    again = world.find(NEW)
    world.issuer.answer(NEW_SET)
    assert again == ["new"]


def test_key_that_is_unknown_during_an_outage_may_be_a_new_one() -> None:
    """A refusal ends a client; the issuer may rotate its keys while its answers fail."""
    world = World()
    world.issuer.answer(OLD_SET)
    world.loop.advance(30)
    waiting = world.find(NEW)
    world.issuer.answer(b"", status=500)
    assert waiting == ["authentication_unavailable"]
    assert world.find(NEW) == ["authentication_unavailable"]
    assert world.find(OLD) == ["old"]
    assert world.find(TokenHeader("HS256", None)) == ["wrong_algorithm"], "no set may have a secret"
    world.loop.advance(1)
    world.issuer.answer(NEW_SET)
    assert world.find(NEW) == ["new"]
    assert world.find(OLD) == ["unknown_signing_key"]


def test_outage_is_not_asked_about_for_every_token() -> None:
    world = World()
    world.issuer.fail()
    requests = world.issuer.requests
    for _ in range(100):
        assert world.find(OLD) == ["authentication_unavailable"]
    assert world.issuer.requests == requests


def test_waiting_tokens_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwks, "MAX_WAITING", 2)
    world = World()
    first, second, third = world.find(OLD), world.find(OLD), world.find(OLD)
    assert (first, second, third) == ([], [], ["authentication_unavailable"])
    world.issuer.answer(OLD_SET)
    assert first == second == ["old"]


def test_failing_token_does_not_keep_others_from_theirs(caplog: pytest.LogCaptureFixture) -> None:
    world = World()

    def fail(found: object) -> None:
        raise RuntimeError("a fault of the caller")

    world.keys.find(OLD, fail)
    waiting = world.find(OLD)
    world.issuer.answer(OLD_SET)
    assert waiting == ["old"]
    assert "a fault of the caller" in caplog.text


def test_published_secret_is_not_a_key() -> None:
    world = World()
    from base64 import urlsafe_b64encode

    secret = {"kty": "oct", "k": urlsafe_b64encode(SECRET).decode(), "kid": "old"}
    world.issuer.answer(jwk_set(secret, jwk("ES256", kid="old")))
    assert world.find(TokenHeader("HS256", "old")) == ["wrong_algorithm"]
    assert world.find(OLD) == ["old"]


def test_refresh_fetches_now_and_close_ends_fetching(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.issuer.answer(OLD_SET)
    world.keys.refresh()
    world.keys.refresh()
    assert world.issuer.requests == 2
    world.issuer.answer(NEW_SET)
    assert world.find(NEW) == ["new"]
    world.loop.advance(590)
    world.keys.refresh()
    waiting = world.find(TokenHeader("ES256", "newer"))
    world.keys.close()
    assert waiting == ["unknown_signing_key"]
    world.issuer.fail()
    world.loop.advance(10_000)
    assert world.issuer.requests == 3
    assert "cannot be fetched" in caplog.text


def test_address_of_a_set_uses_tls_except_on_this_machine() -> None:
    clock = ManualClock()
    for url in ("http://127.0.0.1:8080/jwks", "http://localhost/jwks", "http://[::1]:9/x", URL):
        RemoteKeys(url, Issuer(), monotonic=clock.monotonic, scheduler=ManualLoop(clock))
    for url in (
        "http://issuer.example/jwks",
        "http://127.0.0.1.example/jwks",
        "file:///etc/passwd",
        "data:,x",
        "issuer.example",
        "https://",
        "https://u:p@issuer.example",
        "https://issuer.example:port/",
        "https://issuer.example/a b",
        "https://[::1",
        "",
    ):
        with pytest.raises(ConfigError) as caught:
            RemoteKeys(url, Issuer(), monotonic=clock.monotonic, scheduler=ManualLoop(clock), option="jwks_url")
        assert caught.value.option == "jwks_url"
        assert "u:p" not in caught.value.message


def test_log_of_an_outage_names_the_address_and_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        world = World()
        world.issuer.fail()
        assert URL in caplog.text
        assert "connection refused" in caplog.text
        world.loop.advance(1)
        world.issuer.answer(OLD_SET)
    assert "answers again, after 1 failures" in caplog.text
