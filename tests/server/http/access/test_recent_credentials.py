"""Posts with a credential that was accepted a moment ago: verified once, and refused as soon as it may not be used."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from tests.server.http.access.secured import StoppedClock
from tests.server.hub_server import HubServer, update

from tidings.access.control import AccessOptions
from tidings.access.keys import ApiKey, ApiKeyAuthenticator, generate_key
from tidings.access.subjects import AccessRequest, Authenticated, Credential
from tidings.contract.event_types import BUILTIN, list_channels
from tidings.hub.clock import SystemClock
from tidings.log.revocations import Revocation


class CountingKeys(ApiKeyAuthenticator):
    """API keys, and how often one was verified."""

    verified = 0

    def authenticate(self, credential: Credential, request: AccessRequest, done: Authenticated) -> None:
        self.verified += 1
        super().authenticate(credential, request, done)


class KeyedHub:
    """A hub with one API key, and posts with it."""

    def __init__(self, edge: Any, *, clock: SystemClock | None = None) -> None:
        self.keys = CountingKeys(list_channels(BUILTIN), time.time_ns)
        self.key, self.text = self.make_key()
        self.server = HubServer(edge, access=AccessOptions(authenticators=[self.keys]), clock=clock)
        self.keys.replace_keys([self.key])

    @staticmethod
    def make_key(expires_s: float | None = None) -> tuple[ApiKey, str]:
        now_ns = time.time_ns()
        expires_ns = None if expires_s is None else now_ns + int(expires_s * 1e9)
        return generate_key("nightly", ["publish data", "admin"], now_ns=now_ns, expires_ns=expires_ns)

    def post(self, authorization: str = "", path: str = "/v1/events") -> tuple[int, str | None]:
        """Post an event; return the status, and the code of the refusal."""
        headers = {"Authorization": authorization or f"Bearer {self.text}"}
        answer = httpx.post(self.server.http + path, json=update("item"), headers=headers, timeout=60)
        return answer.status_code, answer.json().get("code")

    def call(self, function: Callable[[], None]) -> None:
        self.server.call(function)


@pytest.fixture(params=["native", "asgi"])
def hub(request: pytest.FixtureRequest) -> Iterator[KeyedHub]:
    made = KeyedHub(request.param)
    with made.server:
        yield made


def test_credential_is_verified_once_and_counted_each_time(hub: KeyedHub) -> None:
    assert [hub.post() for _ in range(5)] == [(200, None)] * 5
    assert hub.keys.verified == 1
    control = hub.server.app.hub.access
    assert control is not None
    assert control.outcomes["accepted"] == 5


def test_replaced_keys_count_immediately(hub: KeyedHub) -> None:
    assert hub.post() == (200, None)
    hub.call(lambda: hub.keys.replace_keys([]))
    assert hub.post() == (401, "unknown_api_key")


def test_revocation_counts_immediately(hub: KeyedHub) -> None:
    assert hub.post() == (200, None)
    revoked = httpx.post(
        f"{hub.server.http}/v1/admin/revocations",
        json={"credential_id": hub.key.id},
        headers={"Authorization": f"Bearer {hub.text}"},
        timeout=60,
    )
    assert revoked.status_code == 200
    assert hub.post() == (401, "credential_revoked")


def test_revoked_credential_is_not_remembered_again(hub: KeyedHub) -> None:
    def revoke() -> None:
        control = hub.server.app.hub.access
        assert control is not None
        revocation = Revocation(kind="subject", name="nightly", issued_before_ns=time.time_ns() + 10**12)
        hub.server.log.revoke(revocation, lambda _: None)
        control.end_revoked()

    assert hub.post() == (200, None)
    hub.call(revoke)
    assert [hub.post() for _ in range(2)] == [(401, "credential_revoked")] * 2


@pytest.mark.parametrize("edge", ["native", "asgi"])
def test_failures_of_others_at_an_address_stop_invalid_credentials_only(edge: str) -> None:
    clock = StoppedClock()
    hub = KeyedHub(edge, clock=clock)
    second, text = KeyedHub.make_key()
    hub.keys.replace_keys([hub.key, second])
    with hub.server:
        assert hub.post() == (200, None)
        refused = [hub.post(f"Bearer {hub.text[:-1]}!")[1] for _ in range(60)]
        assert refused[-1] == "too_many_failures"
        assert hub.post() == (200, None), "known from before"
        bearer = {"Authorization": f"Bearer {hub.text}"}
        made = httpx.post(f"{hub.server.http}/v1/tickets", headers=bearer, timeout=60).json()["ticket"]
        for ticket, status in ((made, 200), (made, 429)):
            address = f"{hub.server.http}/v1/stream?channel=global&ticket={ticket}"
            with httpx.stream("GET", address, timeout=60) as stream:
                assert stream.status_code == status
        assert hub.post(f"Bearer {text}") == (200, None), "new, and valid"
        assert hub.post(f"Bearer {hub.text[:-2]}!!") == (429, "too_many_failures")
        hub.call(lambda: hub.keys.replace_keys([second]))
        assert hub.post() == (401, "unknown_api_key"), "it is verified again"
        assert hub.post() == (429, "too_many_failures"), "and is then one like any other"


def test_secret_in_the_url_is_refused_beside_a_remembered_credential(hub: KeyedHub) -> None:
    assert hub.post() == (200, None)
    assert hub.post(path="/v1/events?token=x") == (400, "credential_in_url")


def test_ticket_is_remembered_under_no_header(hub: KeyedHub) -> None:
    """The credential of a ticket has its own `Authorization`; that of the request which uses it is a proxy's."""
    bearer = {"Authorization": f"Bearer {hub.text}"}
    made = httpx.post(f"{hub.server.http}/v1/tickets", headers=bearer, timeout=60).json()["ticket"]
    basic = {"Authorization": "Basic YTpi"}
    with httpx.stream(
        "GET", f"{hub.server.http}/v1/stream?channel=data&ticket={made}", headers=basic, timeout=60
    ) as stream:
        assert stream.status_code == 200
        assert hub.post("Basic YTpi")[0] == 401


@pytest.mark.parametrize("edge", ["native", "asgi"])
def test_expiry_counts_immediately(edge: str) -> None:
    hub = KeyedHub(edge)
    with hub.server:
        key, hub.text = hub.make_key(expires_s=2.5)
        hub.call(lambda: hub.keys.replace_keys([key]))
        answers = [hub.post()]
        while answers[-1] == (200, None):
            answers.append(hub.post())
        assert answers[-1] == (401, "api_key_expired")
        assert hub.keys.verified == 2, "once when it was accepted, and once when it was refused"
