"""Clients and a hub that identifies them, on one clock."""

import asyncio
from collections.abc import Iterator

import pytest
from tests.access.token_table import TokenTable

import tidings
from tidings.client.client import Client
from tidings.client.events import PathsRemoved, ReceivedEvent
from tidings.client.sync import connect as connect_sync
from tidings.exceptions import (
    ConfigError,
    CredentialRevoked,
    Forbidden,
    InvalidToken,
    SignedOut,
    TokenExpired,
    Unauthenticated,
)
from tidings.testing import ManualHub

ALL = ("read data", "read operations", "publish data", "publish operations", "cancel operations")
UPDATE = "data:update"


@pytest.fixture
def tokens() -> TokenTable:
    return TokenTable()


@pytest.fixture
def hub(tokens: TokenTable) -> Iterator[ManualHub]:
    with ManualHub(access=tokens.options) as hub:
        yield hub


async def until_state(hub: ManualHub, watch: tidings.Watch[ReceivedEvent], state: tidings.State) -> None:
    await hub.asettle()
    assert watch.state is state


async def test_token_lets_a_client_publish_and_watch(hub: ManualHub, tokens: TokenTable) -> None:
    tokens.add("secret", *ALL, name="ann")
    async with tidings.connect(hub.url, token="secret") as client, client.watch("data") as watch:
        await watch.wait_until_live()
        await client.publish(UPDATE, {"dataset": "prices"})
        assert (await anext(watch)).key == "prices"
        assert client.status.access is not None
        assert client.status.access.subject == "ann"


def test_blocking_client_takes_an_asynchronous_token_function(hub: ManualHub, tokens: TokenTable) -> None:
    tokens.add("secret", *ALL, name="ann")

    async def token() -> str:
        await asyncio.sleep(0)
        return "secret"

    with connect_sync(hub.url, token=token) as client:
        client.publish(UPDATE, {"dataset": "prices"})
    assert [event.key for event in hub.events("data")] == ["prices"]


async def test_client_without_or_with_a_wrong_token_is_refused(hub: ManualHub) -> None:
    with pytest.raises(Unauthenticated):
        await tidings.connect(hub.url, token="")
    with pytest.raises(InvalidToken):
        await tidings.connect(hub.url, token="wrong")
    with pytest.raises(SignedOut):
        await tidings.connect(hub.url, token=lambda: None)


async def test_missing_grants_are_forbidden_with_what_is_allowed(hub: ManualHub, tokens: TokenTable) -> None:
    tokens.add("secret", "read data", "read operations/op-1", "publish data/prices")
    hub.publish("operation:start", {"operation_id": "op-1", "name": "import"})
    async with tidings.connect(hub.url, token="secret") as client:
        with pytest.raises(Forbidden) as publishing:
            await client.publish(UPDATE, {"dataset": "orders"})
        assert "data/prices" in publishing.value.hint
        with pytest.raises(Forbidden, match="cancel"):
            await client.cancel("op-1")
        await client.publish(UPDATE, {"dataset": "prices"})
        with pytest.raises(Forbidden) as reading:
            async for _ in client.watch("operations", "data"):
                pass
        assert "data" in reading.value.hint


async def test_expiring_token_is_replaced_without_missing_or_repeating_an_event(
    hub: ManualHub, tokens: TokenTable
) -> None:
    issued = iter(range(1, 100))

    def token() -> str:
        return tokens.add(f"token-{next(issued)}", *ALL, name="ann", expires_s=hub_age + 100.0)

    hub_age = 0.0
    async with tidings.connect(hub.url, token=token) as client, client.watch("data", since="first") as watch:
        await watch.wait_until_live()
        for number in range(60):
            await client.publish(UPDATE, {"dataset": "prices", "version": number})
            hub_age += 20.0
            await hub.aadvance(20.0)
        versions = [(await anext(watch)).payload.version for _ in range(60)]  # type: ignore[union-attr]
        assert versions == list(range(60))
        assert watch.statistics().connections == 1
        assert watch.statistics().duplicates == 0
        assert next(issued) > 10, "the token was replaced again and again"


async def test_fixed_token_ends_the_client_at_its_expiry(hub: ManualHub, tokens: TokenTable) -> None:
    tokens.add("secret", *ALL, expires_s=100.0)
    async with tidings.connect(hub.url, token="secret") as client:
        await hub.aadvance(90.0)
        assert client.status.access is not None
        assert client.status.access.expiring
        await hub.aadvance(20.0)
        assert client.state is tidings.State.CLOSED
        assert isinstance(client.status.error, TokenExpired)
        with pytest.raises(TokenExpired):
            await client.publish(UPDATE, {"dataset": "prices"})


async def test_revoked_token_ends_the_watch(hub: ManualHub, tokens: TokenTable) -> None:
    tokens.add("secret", *ALL)
    async with tidings.connect(hub.url, token="secret") as client, client.watch("data") as watch:
        await watch.wait_until_live()
        tokens.subjects["secret"] = CredentialRevoked("the token was revoked")
        reevaluate(hub)
        await hub.aadvance(1.0)
        with pytest.raises(CredentialRevoked):
            await anext(watch)


async def test_lost_right_drops_its_paths_only(hub: ManualHub, tokens: TokenTable) -> None:
    tokens.add("secret", *ALL, "read system", name="ann")
    async with tidings.connect(hub.url, token="secret") as client:
        watch = client.watch("data", "operations", since="first", notices=True)
        await watch.wait_until_live()
        await client.publish(UPDATE, {"dataset": "before"})
        tokens.add("secret", "read data", "publish data", "publish operations", name="ann")
        reevaluate(hub)
        await hub.aadvance(1.0)
        await client.publish("operation:start", {"operation_id": "op-1", "name": "n"})
        await client.publish(UPDATE, {"dataset": "after"})
        await hub.asettle()
        items = await watch.take_batch()
        assert [item.key for item in items if isinstance(item, ReceivedEvent)] == ["before", "after"]
        assert PathsRemoved(paths=("operations",), remaining=("data",)) in items
        restart(hub)
        await hub.asettle()
        await client.publish(UPDATE, {"dataset": "later"})
        await hub.asettle()
        items = await watch.take_batch()
        assert [item.key for item in items if isinstance(item, ReceivedEvent)] == ["later"]
        await watch.aclose()


async def test_token_is_sent_when_it_cannot_be_verified_at_first(hub: ManualHub, tokens: TokenTable) -> None:
    tokens.add("secret", *ALL)
    tokens.waiting = []
    connecting = asyncio.ensure_future(_connected(hub, "secret"))
    await hub.asettle()
    assert not connecting.done()
    with hub._world.entered():
        tokens.answer()
    client = await connecting
    await client.aclose()


async def _connected(hub: ManualHub, token: str) -> Client:
    return await tidings.connect(hub.url, token=token)


def reevaluate(hub: ManualHub) -> None:
    with hub._world.entered():
        running = hub._world.hub
        assert running is not None
        assert running.hub.access is not None
        running.hub.access.reevaluate()


def restart(hub: ManualHub) -> None:
    hub.stop()
    hub.start()


def test_token_for_another_machine_needs_tls() -> None:
    with pytest.raises(ConfigError, match="unencrypted"):
        tidings.connect("ws://hub.example.com/ws", token="secret")
    tidings.connect("ws://hub.example.com/ws", token="secret", allow_plaintext_token=True)
    tidings.connect("wss://hub.example.com/ws", token="secret")


@pytest.mark.parametrize("parameter", ["token", "access_token", "jwt", "Token", "api_key"])
def test_token_in_the_url_is_refused_and_not_shown(parameter: str) -> None:
    with pytest.raises(ConfigError) as caught:
        tidings.connect(f"wss://hub.example.com/ws?pace_ms=5&{parameter}=hunter2")
    assert "hunter2" not in str(caught.value)
    assert "TIDINGS_TOKEN" in caught.value.hint
