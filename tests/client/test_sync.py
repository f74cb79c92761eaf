import subprocess
import sys
import threading

import pytest
from tests.client.hub_server import TIMEOUT_S, HubServer
from tests.client.waiting import PROMPT, unanswered

from tidings.client import PUBLISH_TIMEOUT_S, State, sync
from tidings.client.events import Live
from tidings.exceptions import ClientError, CommandRefused, ConnectionLost, HubClosed, HubUnreachable
from tidings.protocol.payloads import DataUpdateData


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("tidings client")]


def test_sync_client_publishes_and_watches(hub: HubServer) -> None:
    with sync.connect(hub.url) as client:
        assert client.state is State.LIVE
        assert client.url == hub.url
        with client.watch("data", since="now") as watch:
            watch.wait_until_live()
            for number in range(200):
                client.publish("data:update", {"version": number})
            versions = []
            for event in watch:
                assert isinstance(event.payload, DataUpdateData)
                versions.append(event.payload.version)
                if len(versions) == 200:
                    break
            assert versions == list(range(200))
            assert watch.statistics().events == 200
            assert (watch.outcome, watch.gap, watch.state) == ("live", None, State.LIVE)
            assert watch.position == watch.status.position
            assert watch.age_s is not None
    assert threads() == []


def test_sync_watch_yields_notices_if_requested(hub: HubServer) -> None:
    with sync.connect(hub.url) as client:
        assert isinstance(next(client.watch("data", notices=True)), Live)


def test_sync_publish_raises_refusals(hub: HubServer) -> None:
    with sync.connect(hub.url) as client, pytest.raises(CommandRefused):
        client.publish("no:such")


def test_sync_connect_without_a_hub_leaves_no_thread() -> None:
    with HubServer() as gone:
        pass
    with pytest.raises(HubUnreachable):
        sync.connect(gone.url)
    assert threads() == []


def test_sync_close_ends_iterations_on_other_threads(hub: HubServer) -> None:
    client = sync.connect(hub.url)
    watch = client.watch("data", since="now")
    watch.wait_until_live()
    ended: list[object] = []
    reader = threading.Thread(target=lambda: ended.append(list(watch)))
    reader.start()
    client.close()
    reader.join(60)
    assert ended == [[]]
    client.close()
    with pytest.raises(ClientError):
        client.publish("data:update")


@pytest.mark.parametrize("timeout_s", [PUBLISH_TIMEOUT_S, None])
def test_sync_close_ends_a_publication_on_another_thread(timeout_s: float | None) -> None:
    def publish() -> None:
        try:
            client.publish("data:update", timeout_s=timeout_s)
        except ConnectionLost as error:
            ended.append(error)

    ended: list[ConnectionLost] = []
    with HubServer() as gone:
        client = sync.connect(gone.url, options=PROMPT)
    publisher = threading.Thread(target=publish)
    publisher.start()
    while not unanswered(client._client):
        assert publisher.is_alive()
    client.close()
    publisher.join(TIMEOUT_S)
    assert len(ended) == 1


def test_sync_watch_raises_a_final_end(hub: HubServer) -> None:
    with sync.connect(hub.url, options=PROMPT) as client:
        watch = client.watch("data", since="now")
        watch.wait_until_live()
        hub.close_all(4003, "no more")
        with pytest.raises(HubClosed, match="no more"):
            next(watch)


def test_ctrl_c_interrupts_a_sync_watch_without_losing_events(hub: HubServer) -> None:
    program = (
        "import os, signal, sys, threading\n"
        "from tidings.client import sync\n"
        "with sync.connect(sys.argv[1]) as client:\n"
        "    watch = client.watch('data', since='now')\n"
        "    watch.wait_until_live()\n"
        "    for round in range(3):\n"
        "        try:\n"  # also the start of the timer, which a slow machine may outrun
        "            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "            next(watch)\n"
        "        except KeyboardInterrupt: print('interrupted')\n"
        "    client.publish('data:update', {'dataset': 'd'})\n"
        "    print(next(watch).key)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, hub.url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n" * 3 + "d\n", "")
