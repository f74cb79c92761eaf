"""What happens to clients of all kinds when the license of their hub is over, and is renewed."""

import asyncio
import json
from collections.abc import Iterator

import msgspec
import pytest
from tests.cli.hub_log import datasets, until
from tests.cli.processes import Process, tidings
from tests.cli.test_relay import RelayProcess
from tests.client.hub_server import QUIET, HubServer
from tests.relay.foreign_service import ForeignService, numbered

import tidings as tidings_client
from tidings.client.http import HTTPClient
from tidings.exceptions import LicenseExpired
from tidings.hub.interfaces import LICENSE_EXPIRED_CLOSE
from tidings.hub.licensing import LicenseTerm, LicenseWatch
from tidings.producer.outbox.outbox import Outbox

DAY_NS = 86_400 * 10**9
OVER = "the license lic of this hub expired at"


class LicensedHub(HubServer):
    """A hub whose license a test ends and renews; clients that it closes come back after 50 ms."""

    def __init__(self) -> None:
        super().__init__(config=msgspec.structs.replace(QUIET, license_retry_ms=50))

    def set_license(self, left_days: float) -> None:
        """Give the hub a license that expires in some days, or has expired, as a changed file does."""

        def replace() -> None:
            hub = self.app.hub
            term = LicenseTerm(license_id="lic", subject="ACME", expires_ns=hub.now_ns() + round(left_days * DAY_NS))
            if isinstance(hub.license, LicenseWatch):
                hub.license.renew(term)
            else:
                LicenseWatch(hub, term, grace_s=86_400, on_over=self._close_all).start()

        self.call(replace)

    def _close_all(self, reason: str) -> None:
        retry_ms = self.app.hub.config.license_retry_ms
        self.app.connections.close_all(LICENSE_EXPIRED_CLOSE, reason, retry_after_ms=retry_ms)

    @property
    def http(self) -> str:
        """URL of the HTTP API."""
        return f"http://127.0.0.1:{self.port}/"


@pytest.fixture
def hub() -> Iterator[LicensedHub]:
    with LicensedHub() as running:
        running.set_license(300)
        yield running


async def test_renewal_brings_back_clients_and_watches_without_a_lost_event(hub: LicensedHub) -> None:
    async with tidings_client.connect(hub.url) as client:
        watch = client.watch("data", since="now")
        await watch.wait_until_live()
        await client.publish("data:update", {"dataset": "before"})
        hub.set_license(-2)
        with pytest.raises(LicenseExpired, match="license"):
            await client.publish("data:update", {"dataset": "while"})
        with pytest.raises(LicenseExpired, match="license"):
            await client.cancel("op-1")
        async with tidings_client.connect(hub.url) as late:
            with pytest.raises(LicenseExpired, match="license"):
                await late.publish("data:update", {"dataset": "while"})
            hub.set_license(300)
            for each in (client, late):
                await each_publishes(each)
        found: list[str] = []
        async for event in watch:
            found += [json.loads(event.data)["dataset"]] if event.type == "data:update" else []
            if len(found) == 3:
                break
        assert found == ["before", "after", "after"]


async def each_publishes(client: tidings_client.client.Client) -> None:
    """Publish as soon as the hub lets the client."""
    async with asyncio.timeout(60):
        while True:
            try:
                await client.publish("data:update", {"dataset": "after"})
            except LicenseExpired:
                await asyncio.sleep(0.02)
            else:
                return


def test_renewal_brings_back_a_producer_with_what_it_reported_before(hub: LicensedHub) -> None:
    errors: list[object] = []
    with Outbox(hub.url, on_error=errors.append) as outbox:
        outbox.put_nowait("operation:start", {"operation_id": "op-1", "name": "import"})
        assert outbox.flush(60) == 0
        hub.set_license(-2)
        outbox.put_nowait("operation:progress", {"operation_id": "op-1", "progress": 50})
        until(lambda: any(isinstance(error, LicenseExpired) for error in errors))
        outbox.put_nowait("operation:complete", {"operation_id": "op-1"})
        hub.set_license(300)
        assert outbox.flush(60) == 0
    with HTTPClient(hub.url) as client:
        assert client.operation("op-1", wait_s=0.0).state == "complete"


def test_renewal_brings_back_the_relay_and_commands(hub: LicensedHub) -> None:
    with (
        ForeignService(remembers=1_000) as service,
        RelayProcess(service, hub) as relay,
        Process("watch", "data", "--since", "first", "--json", "--url", hub.url) as watch,
        Process("wait", "op-1", "--until", "running", "--url", hub.url) as wait,
    ):
        service.say(*numbered(1, 3))
        watch.read_until('"d-3"')
        hub.set_license(-2)
        assert OVER in relay.read_told("events wait until it answers")
        service.say(*numbered(4, 6))
        started = tidings("publish", "operation:start", '{"operation_id": "op-1", "name": "n"}', "--url", hub.url)
        assert OVER in started.stderr
        with Process("watch", "data", "--since", "first", "--json", "--url", hub.url) as late:
            assert late.process.stderr is not None
            assert OVER in late.process.stderr.readline().decode()
            hub.set_license(300)
            for each in (watch, late):
                lines = each.read_until('"d-6"')
                assert not [line for line in lines if '"channel:gap"' in line]
        until(lambda: datasets(hub) == [f"d-{n}" for n in range(1, 7)])
        begun = tidings("publish", "operation:start", '{"operation_id": "op-1", "name": "n"}', "--url", hub.url)
        assert begun.returncode == 0, begun.stderr
        assert wait.wait()[0] == 0
        assert relay.stop()[0] == 0
