import asyncio
import itertools
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
import pytest
from tests.client.hub_server import TIMEOUT_S, HubServer
from tests.client.waiting import PROMPT
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from tidings.client import ClientConnection, LinkOptions, open_websocket
from tidings.client.publish_queue import QueueLimits
from tidings.exceptions import (
    CommandRefused,
    ConfigError,
    HubClosed,
    HubUnreachable,
    InvalidPayload,
    LogBusy,
    LogFull,
    TidingsError,
)
from tidings.log.base import AppendDone, EventToAppend, Page, Query
from tidings.log.memory import MemoryLog
from tidings.producer.outbox import sender
from tidings.producer.outbox.outbox import ErrorReporter, Outbox, new_producer_id
from tidings.protocol.envelope import Event
from tidings.protocol.messages import Attach
from tidings.protocol.paths import parse_paths
from tidings.protocol.payloads import OperationProgressData
from tidings.testing.faulty_log import FaultyLog

PATIENT = LinkOptions(wait_for_hub=True, reconnect=PROMPT.reconnect, open_timeout_s=PROMPT.open_timeout_s)


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


@pytest.fixture(autouse=True)
def leaves_no_thread() -> Iterator[None]:
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name == "tidings outbox"] == []


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def logged(hub: HubServer) -> list[Event]:
    """Return all events in the hub's log, without conflation."""

    def read() -> list[Event]:
        events: list[Event] = []
        log = hub.app.hub.log
        paths = parse_paths(["*"], hub.app.hub.contract.channels)
        after = 0

        def done(page: Page | Exception) -> None:
            nonlocal after
            assert isinstance(page, Page)
            events.extend(record.event for record in page.records)
            after = page.scanned

        while after < log.head:
            log.read(Query(after=after, until=log.head, paths=paths, conflate=False), done)
        return events

    return hub.call(read)


def messages(events: list[Event]) -> list[str]:
    return [msgspec.json.decode(event.data)["message"] for event in events]


def log_line(outbox: Outbox, number: int) -> bool:
    return outbox.put_nowait("operation:log", {"operation_id": "a", "message": str(number)})


def test_durable_events_arrive_in_order(hub: HubServer) -> None:
    with Outbox(hub.url) as outbox:
        outbox.put_nowait("operation:start", {"operation_id": "a"})
        for number in range(2_500):
            assert log_line(outbox, number)
        outbox.put_nowait("operation:complete", {"operation_id": "a"})
        assert outbox.close(TIMEOUT_S, patient=True) == 0
        assert outbox.statistics().accepted == 2_502
    events = logged(hub)
    assert (events[0].type, events[-1].type) == ("operation:start", "operation:complete")
    # The hub keeps the newest thousand lines of an operation; retention may not have come to the others yet.
    lines = messages(events[1:-1])
    assert len(lines) >= 1_000
    assert lines == [str(number) for number in range(2_500 - len(lines), 2_500)]


def test_outbox_starts_no_thread_before_the_first_event() -> None:
    outbox = Outbox("ws://127.0.0.1:9/ws")
    assert "tidings outbox" not in [thread.name for thread in threading.enumerate()]
    assert outbox.close() == 0
    assert not log_line(outbox, 1)


@pytest.mark.parametrize("on_error", ["log", lambda: None])
def test_on_error_that_cannot_be_called_is_refused_at_construction(on_error: Any) -> None:
    with pytest.raises(TypeError, match="invalid on_error"):
        Outbox("ws://127.0.0.1:1/ws", on_error=on_error)


def test_outbox_with_an_invalid_url_raises() -> None:
    with pytest.raises(ConfigError):
        Outbox("ftp://nowhere")


def test_absent_hub_is_reported_once_and_gets_everything_later(hub: HubServer) -> None:
    hub.stop()
    errors: list[TidingsError] = []
    attempts: list[str] = []

    async def counted(url: str) -> ClientConnection:
        attempts.append(url)
        return await open_websocket(url)

    options = msgspec.structs.replace(PATIENT, open_connection=counted)
    outbox = Outbox(hub.url, on_error=errors.append, options=options)
    for number in range(300):
        assert outbox.put_nowait("operation:progress", OperationProgressData(operation_id="a", progress=number / 3))
        assert log_line(outbox, number)
    until(lambda: len(attempts) > 4)
    assert [type(trouble) for trouble in errors] == [HubUnreachable]
    figures = outbox.statistics()
    assert (figures.waiting, figures.conflated, figures.unacknowledged) == (301, 299, 0)
    with HubServer(hub.port) as again:
        assert outbox.close(TIMEOUT_S, patient=True) == 0
        events = logged(again)
    lines = [event for event in events if event.type == "operation:log"]
    (progress,) = [event for event in events if event.type == "operation:progress"]
    assert messages(lines) == [str(number) for number in range(300)]
    assert msgspec.json.decode(progress.data)["progress"] == 299 / 3
    assert len(errors) == 1


def test_put_never_waits_for_a_hub_that_does_not_answer(hub: HubServer) -> None:
    """The hub's loop is blocked, and the job does not notice."""
    with Outbox(hub.url, limits=QueueLimits(events=500)) as outbox:
        assert log_line(outbox, -1)
        until(lambda: outbox.statistics().accepted == 1)
        release = threading.Event()
        hub.loop.call_soon_threadsafe(release.wait)
        try:
            slowest = 0.0
            for number in range(5_000):
                began = time.perf_counter()
                outbox.put_nowait("operation:log", {"operation_id": "a", "message": str(number)})
                slowest = max(slowest, time.perf_counter() - began)
            # The hub answers only after this loop: to wait for it would be for ever.
            assert slowest < 1.0
            figures = outbox.statistics()
            assert figures.waiting <= 500
            assert figures.shed > 0
        finally:
            release.set()
        assert outbox.close(TIMEOUT_S, patient=True) == 0
    # The oldest lines are shed: the newest always arrives.
    assert messages(logged(hub))[-1] == "4999"


def test_full_outbox_is_reported_once(hub: HubServer) -> None:
    hub.stop()
    errors: list[TidingsError] = []
    outbox = Outbox(hub.url, on_error=errors.append, options=PATIENT, limits=QueueLimits(events=2))
    taken = [outbox.put_nowait("data:update", {"version": number}) for number in range(5)]
    assert taken == [True, True, False, False, False]
    assert outbox.statistics().shed == 3
    assert len([trouble for trouble in errors if isinstance(trouble, LogBusy)]) == 1
    assert outbox.close(0.0) == 2


def test_close_waits_no_longer_than_its_timeout(hub: HubServer) -> None:
    hub.stop()
    outbox = Outbox(hub.url, options=PATIENT)
    log_line(outbox, 1)
    began = time.monotonic()
    assert outbox.close(0.2) == 1
    assert time.monotonic() - began >= 0.2
    assert outbox.close(0.2) == 1


def test_invalid_event_is_reported_and_counted_and_not_raised(hub: HubServer) -> None:
    errors: list[TidingsError] = []
    with Outbox(hub.url, on_error=errors.append) as outbox:
        assert not outbox.put_nowait("operation:progress", {"operation_id": "a", "progress": 101})
        assert not outbox.put_nowait("operation:progress", {"operation_id": "a", "progress": object()})
        assert not outbox.put_nowait(None, {})  # type: ignore[arg-type]
        assert outbox.put_nowait("no:such", {"a": 1}), "the hub's contract may know it"
        assert log_line(outbox, 1)
        assert outbox.close(TIMEOUT_S, patient=True) == 0
        assert outbox.statistics().refused == 4
    assert messages(logged(hub)) == ["1"]
    assert isinstance(errors[0], InvalidPayload)
    assert isinstance(errors[-1], CommandRefused)
    assert len(errors) == len({getattr(trouble, "refusal", trouble.code) for trouble in errors})


@pytest.mark.parametrize("operation_id", ["", "x" * 256, "\ud800", "a\nb"])
def test_invalid_claim_is_reported_and_does_not_keep_the_producer_from_attaching(
    hub: HubServer, operation_id: str
) -> None:
    errors: list[TidingsError] = []
    with Outbox(hub.url, spool=None, on_error=errors.append) as outbox:
        outbox.hold(operation_id)
        outbox.hold("op-1")
        outbox.put_nowait("operation:start", {"operation_id": "op-1"})
        assert outbox.flush(TIMEOUT_S) == 0
        life = hub.call(lambda: hub.app.hub.operations.life("op-1"))
        assert life is not None
        assert life.producer_id == outbox.producer_id
        outbox.put_nowait("operation:complete", {"operation_id": "op-1"})
    assert [error.code for error in errors] == ["invalid_key"]


def test_temporarily_full_log_loses_no_event() -> None:
    """Events that could not be stored come later, behind those in flight; the rest keeps its order."""
    faulty = FaultyLog(MemoryLog(secrets.token_hex(4)))
    errors: list[TidingsError] = []
    with HubServer(event_log=faulty) as hub, Outbox(hub.url, on_error=errors.append) as outbox:
        hub.call(lambda: faulty.fail_append(LogFull("the disk is full")))
        for number in range(100):
            assert log_line(outbox, number)
        assert outbox.close(TIMEOUT_S, patient=True) == 0
        stored = [int(number) for number in messages(logged(hub))]
        assert sorted(stored) == list(range(100))
        backward = [later for earlier, later in itertools.pairwise(stored) if later < earlier]
        assert len(backward) <= 1, "events sent again keep their own order"
        assert [getattr(trouble, "refusal", "") for trouble in errors] == ["log_full"]


def test_full_log_is_probed_with_one_event_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the first refusal, no event can overtake a refused one."""
    monkeypatch.setattr(sender, "RETRY_S", 0.05)
    faulty = FaultyLog(MemoryLog(secrets.token_hex(4)))
    tried: list[int] = []
    append = faulty.append

    def failing(batch: Sequence[EventToAppend], done: AppendDone) -> None:
        tried.append(len(batch))
        if len(tried) <= 3:
            faulty.fail_append(LogFull("the disk is full"))
        append(batch, done)

    faulty.append = failing  # type: ignore[method-assign]
    with HubServer(event_log=faulty) as hub, Outbox(hub.url) as outbox:
        hub.call(lambda: faulty.hold_appends())  # what is put now is one batch
        for number in range(100):
            assert log_line(outbox, number)
        until(lambda: hub.call(lambda: len(hub.app.hub._staging)) == 100)
        hub.call(faulty.release_appends)
        assert outbox.close(TIMEOUT_S, patient=True) == 0
        assert [int(number) for number in messages(logged(hub))] == list(range(100))
    assert tried[1:4] == [1, 1, 1]


def test_token_is_sent_as_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDINGS_TOKEN", "from-the-environment")
    seen: list[str | None] = []

    def look(connection: ServerConnection, request: Request) -> Response:
        seen.append(request.headers.get("Authorization"))
        return connection.respond(HTTPStatus.NOT_FOUND, "")

    with serve(lambda connection: None, "127.0.0.1", 0, process_request=look) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}/ws"
        for token in (None, "an-argument"):
            outbox = Outbox(url, token=token, spool=None)
            log_line(outbox, 1)
            outbox.close(5.0)
        server.shutdown()
        serving.join(TIMEOUT_S)
    assert seen == ["Bearer from-the-environment", "Bearer an-argument"]


@pytest.mark.parametrize("token", ["two words", "line\nbreak", "größe"])
def test_invalid_token_raises_without_showing_it(token: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Outbox(token=token)
    assert token not in str(caught.value)


def test_final_end_is_reported_and_the_outbox_takes_no_more_events(hub: HubServer) -> None:
    errors: list[TidingsError] = []
    outbox = Outbox(hub.url, on_error=errors.append, options=PATIENT)
    log_line(outbox, 1)
    until(lambda: outbox.statistics().accepted == 1)
    hub.close_all(4003, "no more of you")
    until(lambda: bool(errors))
    assert isinstance(errors[0], HubClosed)
    until(lambda: not log_line(outbox, 2))
    outbox.close(3600.0)  # it waits for no answer


def test_put_is_thread_safe(hub: HubServer) -> None:
    with Outbox(hub.url) as outbox:

        def put(thread: int) -> None:
            for number in range(200):
                outbox.put_nowait("data:update", {"dataset": f"t{thread}", "version": number})

        threads = [threading.Thread(target=put, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert outbox.close(TIMEOUT_S, patient=True) == 0
    by_thread: dict[str, list[int]] = {}
    for event in logged(hub):
        data = msgspec.json.decode(event.data)
        by_thread.setdefault(data["dataset"], []).append(data["version"])
    assert by_thread == {f"t{number}": list(range(200)) for number in range(4)}


def test_exception_in_on_error_is_logged(hub: HubServer, caplog: pytest.LogCaptureFixture) -> None:
    def fail(error: TidingsError) -> None:
        raise ValueError("the job's own fault")

    with Outbox(hub.url, on_error=fail) as outbox:
        assert not outbox.put_nowait("operation:progress", {"operation_id": "a", "progress": 101})
        assert log_line(outbox, 1)
        assert outbox.close(TIMEOUT_S, patient=True) == 0
    assert "the job's own fault" in caplog.text


async def test_outbox_works_inside_an_event_loop(hub: HubServer) -> None:
    outbox = Outbox(hub.url)
    for number in range(10):
        assert log_line(outbox, number)
    assert await asyncio.to_thread(outbox.close, TIMEOUT_S) == 0


def test_producer_id_is_readable_and_unique() -> None:
    first, second = new_producer_id(), new_producer_id()
    assert first != second
    assert f".{os.getpid()}." in first


@pytest.mark.parametrize("host", ["web-1", "a" * 200, "größer host", ""])
def test_producer_id_is_valid_for_any_host_name(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: host)
    monkeypatch.setattr(os, "getpid", lambda: 2**31)
    msgspec.convert({"producer_id": new_producer_id()}, Attach)


def test_error_reporter_reports_each_code_once() -> None:
    told: list[TidingsError] = []
    errors = ErrorReporter(told.append)
    first = HubUnreachable("one")
    for error in (first, HubUnreachable("two"), LogBusy("full")):
        errors(error)
    for refusal in ("log_full", "log_full", "operation_fenced"):
        errors(CommandRefused("no", refusal=refusal, recoverable=False))
    assert told[0] is first
    assert [getattr(error, "refusal", error.code) for error in told] == [
        "hub_unreachable",
        "log_busy",
        "log_full",
        "operation_fenced",
    ]


def test_error_reporter_logs_exceptions_of_its_callback(caplog: pytest.LogCaptureFixture) -> None:
    def fail(error: TidingsError) -> None:
        raise ValueError("the job's own fault")

    ErrorReporter(fail)(HubUnreachable("one"))
    assert "the job's own fault" in caplog.text
    ErrorReporter(None)(HubUnreachable("one"))
