from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from tests.client.model_hub import STAMP, ModelHub, closed, established, event, message

from tidings.client.drafts import Draft
from tidings.client.events import Delivery, Gap, Live, ReceivedEvent, Settled
from tidings.client.publish_queue import PublishQueue, QueueLimits, Rank
from tidings.client.session import Phase, Session
from tidings.client.status import State
from tidings.contract.contract import Contract
from tidings.exceptions import CommandRefused, ConnectionLost, HubClosed, NotAHub
from tidings.protocol.messages import Accepted
from tidings.protocol.payloads import DataUpdateData

CONTRACT = Contract()


def draft(number: int) -> Draft:
    data = Raw(msgspec.json.encode({"dataset": "mine", "version": number}))
    return Draft(type="data:update", data=data, timestamp=STAMP, event_id=f"event-{number:012}")


def watching(since: str = "snapshot") -> Session:
    return Session(CONTRACT, paths=["data"], since=since)


def sent(session: Session) -> list[dict[str, object]]:
    messages = []
    while (body := session.take_outgoing()) is not None:
        messages.append(msgspec.json.decode(body))
    return messages


def greet(session: Session, now: float = 0.0, *, heartbeat_s: float = 25.0) -> None:
    session.opened(now)
    session.received(established(heartbeat_s=heartbeat_s), now)


def go_live(session: Session, now: float = 0.0, *, heartbeat_s: float = 25.0, outcome: str = "live") -> None:
    greet(session, now, heartbeat_s=heartbeat_s)
    answer = {"channels": ["data"], "position": "e:5", "outcome": outcome}
    session.received(message("channel:subscribed", answer, reply_to="subscribe"), now)
    session.received(message("channel:live", {"channels": ["data"], "position": "e:5"}), now)


class TestOpening:
    def test_session_sends_nothing_before_the_greeting(self) -> None:
        session = watching()
        session.opened(0.0)
        assert not session.ready
        assert sent(session) == []
        assert session.state(0.0) is State.CONNECTING

    def test_greeting_is_followed_by_the_subscription_and_events(self) -> None:
        session = watching("first")
        greet(session)
        assert session.ready
        session.publish(draft(1), "1")
        subscribe, publication = sent(session)
        assert subscribe["type"] == "channel:subscribe"
        assert subscribe["data"] == {"channels": ["data"], "since": "first"}
        assert publication["event_id"] == "event-000000000001"
        assert session.state(0.0) is State.CATCHING_UP

    def test_session_without_paths_is_live_and_does_not_subscribe(self) -> None:
        session = Session(CONTRACT)
        greet(session)
        assert session.state(0.0) is State.LIVE
        assert sent(session) == []

    @pytest.mark.parametrize(
        "body",
        [
            b"hello",
            b"[]",
            b"\xff\xfe",
            b'{"type":"welcome","data":null}',
            b'{"type":"connection:established"}',
            b'{"x":' + b"[" * 100_000,
        ],
        ids=lambda body: body[:20].decode(errors="replace"),
    )
    def test_unknown_greeting_raises_not_a_hub(self, body: bytes) -> None:
        session = watching()
        session.opened(0.0)
        with pytest.raises(NotAHub):
            session.received(body, 0.0)

    def test_close_in_place_of_the_greeting_is_a_reason_and_not_another_server(self) -> None:
        session = watching()
        session.opened(0.0)
        data = {"code": 1013, "reason": "the hub is opening its log", "reconnect": True, "retry_after_ms": 1_500}
        assert session.received(message("connection:closed", data), 0.0) == ()
        ended = session.lost(1013, "the hub is opening its log")
        assert (ended.final, ended.retry_after_s) == (False, 1.5)
        assert "the hub is opening its log" in str(ended.error)

    def test_missing_greeting_raises_not_a_hub_after_the_timeout(self) -> None:
        session = Session(CONTRACT, greeting_s=3.0)
        session.opened(10.0)
        assert session.next_deadline() == 13.0
        assert session.tick(12.9) is None
        assert isinstance(session.tick(13.0), NotAHub)


class TestReading:
    def test_event_has_a_typed_payload(self) -> None:
        session = watching()
        go_live(session)
        (item,) = session.received(event("e:6", "prices", 3, event_id="0123456789abcdef"), 1.0)
        assert isinstance(item, ReceivedEvent)
        assert item.payload == DataUpdateData(dataset="prices", version=3)
        assert (item.key, item.position, item.event_id) == ("prices", "e:6", "0123456789abcdef")

    @pytest.mark.parametrize(("type", "data"), [("moon:landed", {"crew": 3}), ("data:update", {"records": -1})])
    def test_event_unknown_to_the_contract_is_raw(self, type: str, data: object) -> None:
        session = watching()
        go_live(session)
        body = {"type": type, "timestamp": STAMP, "trace_id": "t", "data": data, "channel": "data", "position": "e:6"}
        (item,) = session.received(msgspec.json.encode(body), 1.0)
        assert isinstance(item, ReceivedEvent)
        assert (item.payload, item.key) == (None, None)
        assert msgspec.json.decode(item.data) == data

    def test_alert_without_an_id_has_its_code_as_key(self) -> None:
        session = watching()
        go_live(session)
        data = {"severity": "info", "code": "disk_low", "message": "m", "recoverable": True}
        body = {"type": "system:alert", "timestamp": STAMP, "data": data, "channel": "system", "position": "e:6"}
        (item,) = session.received(msgspec.json.encode(body), 1.0)
        assert isinstance(item, ReceivedEvent)
        assert item.key == "disk_low"

    def test_unknown_push_is_ignored(self) -> None:
        session = watching()
        go_live(session)
        assert session.received(message("channel:weather", {"fine": True}), 1.0) == ()

    def test_live_and_gap_are_items(self) -> None:
        session = watching()
        greet(session)
        answer = {"channels": ["data"], "position": "e:0", "outcome": "gap"}
        session.received(message("channel:subscribed", answer, reply_to="subscribe"), 0.0)
        gap = session.received(message("channel:gap", {"after": "e:1", "until": "e:4", "reason": "trimmed"}), 0.0)
        assert gap == (Gap(after="e:1", until="e:4", reason="trimmed"),)
        live = session.received(message("channel:live", {"channels": ["data"], "position": "e:9"}), 0.0)
        assert live == (Live(position="e:9", outcome="gap"),)


class TestResuming:
    def since(self, session: Session) -> object:
        session.lost(1006, "")
        greet(session)
        subscribe = sent(session)[-1]
        assert isinstance(subscribe["data"], dict)
        return subscribe["data"]["since"]

    def test_resume_begins_behind_the_last_event(self) -> None:
        session = watching()
        go_live(session)
        session.received(event("e:7"), 1.0)
        assert self.since(session) == "e:7"

    def test_resume_begins_behind_the_last_heartbeat(self) -> None:
        session = watching()
        go_live(session)
        session.received(message("connection:position", {"position": "e:90", "now": STAMP}), 1.0)
        assert self.since(session) == "e:90"

    def test_heartbeat_before_the_subscription_does_not_move_the_cursor(self) -> None:
        """A hub that waits for its tail to reach the position sends heartbeats; their position is its head."""
        session = watching()
        go_live(session)
        session.lost(1006, "")
        greet(session)
        session.received(message("connection:position", {"position": "e:90", "now": STAMP}), 1.0)
        assert self.since(session) == "e:5"

    def test_resume_from_now_begins_at_the_first_position(self) -> None:
        session = watching("now")
        greet(session)
        assert self.since(session) == "now"
        answer = {"channels": ["data"], "position": "e:3", "outcome": "live"}
        session.received(message("channel:subscribed", answer, reply_to="subscribe"), 0.0)
        assert self.since(session) == "e:3"

    def test_unreadable_position_becomes_a_gap_and_a_snapshot(self) -> None:
        session = watching()
        go_live(session)
        session.lost(1006, "")
        greet(session)
        sent(session)
        error = {"code": "invalid_position", "message": "no", "recoverable": False}
        items = session.received(message("connection:error", error, reply_to="subscribe"), 0.0)
        assert items == (Gap(after="e:5", until="", reason="position refused"),)
        (subscribe,) = sent(session)
        assert subscribe["data"] == {"channels": ["data"]}, "a snapshot is what the command means by default"

    def test_refused_subscription_raises(self) -> None:
        session = watching()
        greet(session)
        error = {"code": "unknown_channel", "message": "no", "recoverable": False, "hint": "another"}
        with pytest.raises(CommandRefused) as caught:
            session.received(message("connection:error", error, reply_to="subscribe"), 0.0)
        assert (caught.value.refusal, caught.value.hint) == ("unknown_channel", "another")


class TestPublishing:
    def test_publish_message_has_the_protocols_field_order(self) -> None:
        session = Session(CONTRACT)
        greet(session)
        event = Draft(type="data:update", data=Raw(b"{}"), timestamp="t", event_id="0123456789abcdef")
        session.publish(event, "1")
        body = b'{"type":"data:update","timestamp":"t","data":{},"id":"1","event_id":"0123456789abcdef"}'
        assert session.take_outgoing() == body
        session.publish(msgspec.structs.replace(event, trace_id="t"), "2")
        assert list(sent(session)[0]) == ["type", "timestamp", "trace_id", "data", "id", "event_id"]

    def test_acceptance_settles_its_publication(self) -> None:
        session = Session(CONTRACT)
        greet(session)
        (item,) = session.received(message("event:accepted", {"position": "e:1"}, reply_to="2"), 0.0)
        assert item == Settled("2", Accepted(position="e:1"))

    def test_refusal_settles_its_publication(self) -> None:
        session = Session(CONTRACT)
        greet(session)
        error = {"code": "invalid_payload", "message": "no", "recoverable": False}
        (item,) = session.received(message("connection:error", error, reply_to="1"), 0.0)
        assert isinstance(item, Settled)
        assert isinstance(item.result, CommandRefused)
        (unaddressed,) = session.received(message("connection:error", error), 0.0)
        assert isinstance(unaddressed, Settled)
        assert unaddressed.id == "", "the publisher finds its event"

    def test_draining_refusal_settles_nothing(self) -> None:
        session = Session(CONTRACT)
        greet(session)
        error = {"code": "draining", "message": "later", "recoverable": True}
        assert session.received(message("connection:error", error, reply_to="1"), 0.0) == ()

    def test_event_is_not_sent_after_its_connection_is_lost(self) -> None:
        session = Session(CONTRACT)
        greet(session)
        session.publish(draft(1), "1")
        session.lost(1006, "")
        greet(session)
        assert sent(session) == []

    def test_withdrawn_event_is_not_sent(self) -> None:
        session = Session(CONTRACT)
        greet(session)
        session.publish(draft(1), "1")
        session.publish(draft(2), "2")
        session.withdraw("1")
        assert [command["id"] for command in sent(session)] == ["2"]


class TestEndings:
    @pytest.mark.parametrize("code", [1000, 1002, 1003, 1007, 1008, 1009, 1010, 4003, 4029, 4099])
    def test_final_close_code_ends_the_session_with_its_reason(self, code: int) -> None:
        session = watching()
        go_live(session)
        ending = session.lost(code, "the reason")
        assert ending.final
        assert isinstance(ending.error, HubClosed)
        assert ending.error.close_code == code
        assert "the reason" in str(ending.error)

    @pytest.mark.parametrize("code", [1001, 1005, 1006, 1011, 1012, 1013, 1014, 1015, 4100, 4101, 4102, 4199, 3000])
    def test_other_close_code_allows_a_reconnect(self, code: int) -> None:
        session = watching()
        go_live(session)
        ending = session.lost(code, "")
        assert not ending.final
        assert isinstance(ending.error, ConnectionLost)

    def test_closed_message_counts_if_the_close_frame_is_lost(self) -> None:
        session = watching()
        go_live(session)
        session.received(closed(4003, reconnect=False), 1.0)
        ending = session.lost(1006, "")
        assert ending.final
        assert "why" in str(ending.error)

    def test_closed_message_may_forbid_a_reconnect_with_any_code(self) -> None:
        session = watching()
        go_live(session)
        session.received(closed(4105, reconnect=False), 1.0)
        assert session.lost(4105, "why").final

    def test_retry_after_applies_once(self) -> None:
        session = watching()
        go_live(session)
        session.received(closed(4100, reconnect=True, retry_after_ms=1_500), 1.0)
        assert session.lost(4100, "why").retry_after_s == 1.5
        greet(session, 2.0)
        assert session.lost(1006, "").retry_after_s == 0.0


class TestSilence:
    def test_silence_makes_it_stale_after_two_beats_and_lost_after_three(self) -> None:
        session = watching()
        go_live(session, 100.0, heartbeat_s=10.0)
        sent(session)
        assert session.next_deadline() == 120.0
        assert session.state(119.9) is State.LIVE
        assert session.tick(119.9) is None
        assert sent(session) == []
        assert session.state(120.0) is State.STALE
        assert session.tick(120.0) is None
        assert [command["type"] for command in sent(session)] == ["connection:ping"]
        assert session.next_deadline() == 130.0
        assert isinstance(session.tick(130.0), ConnectionLost)

    def test_pong_makes_a_stale_session_live(self) -> None:
        session = watching()
        go_live(session, 100.0, heartbeat_s=10.0)
        session.tick(120.0)
        session.received(message("connection:pong", {"now": STAMP}, reply_to="ping"), 121.0)
        assert session.state(121.0) is State.LIVE
        assert session.next_deadline() == 141.0
        assert session.heartbeat.last_received == 121.0

    def test_silence_does_not_count_while_reading_is_paused(self) -> None:
        session = watching()
        go_live(session, 100.0, heartbeat_s=10.0)
        session.heartbeat.pause()
        assert session.next_deadline() is None
        assert session.state(500.0) is State.LIVE
        session.heartbeat.resume(500.0)
        assert session.state(519.9) is State.LIVE
        assert session.next_deadline() == 520.0

    def test_lost_connection_is_stale_until_the_next_greeting(self) -> None:
        session = watching()
        go_live(session, 100.0, heartbeat_s=10.0)
        session.lost(1006, "")
        assert session.state(101.0) is State.CONNECTING
        assert session.next_deadline() == 120.0
        assert session.tick(120.0) is None
        assert session.next_deadline() is None
        assert session.state(120.0) is State.STALE
        session.opened(130.0)
        assert session.state(130.0) is State.STALE
        session.received(established(), 131.0)
        assert session.state(131.0) is State.CATCHING_UP


Step = tuple[str, int]
steps = st.lists(
    st.tuples(
        st.sampled_from(["append", "append", "publish", "deliver", "deliver", "deliver", "send", "cut", "beat"]),
        st.integers(0, 6),
    ),
    max_size=80,
)


class Drive:
    """One session and its queue against one model hub, step by step."""

    def __init__(self, since: str, resent: int) -> None:
        self.session = watching(since)
        self.hub = ModelHub(resent=resent)
        self.items: list[Delivery] = []
        self.queue = PublishQueue(QueueLimits())
        self.settled: list[str] = []
        self.published = 0
        self.appended = 0

    def do(self, step: Step) -> None:
        kind, amount = step
        if kind == "append":
            self.appended += 1
            self.hub.append(f"d{amount % 3}", self.appended)
        elif kind == "publish":
            assert self.queue.put(draft(self.published), Rank.DURABLE)
            self.published += 1
        elif kind == "cut":
            if self.session.phase is not Phase.DISCONNECTED:
                self.session.lost(1006, "")
                self.queue.connection_lost()
            self.session.opened(0.0)
            self.hub.connect()
        elif kind == "beat":
            self.hub.beat()
        elif kind == "send":
            self.send(amount)
        else:
            self.deliver(amount)

    def send(self, most: int) -> None:
        for _ in range(most):
            if self.session.ready:
                for entry in self.queue.take(2):
                    self.session.publish(entry.draft, entry.id)
            body = self.session.take_outgoing()
            if body is None:
                return
            self.hub.receive(body)

    def deliver(self, most: int) -> None:
        for _ in range(most):
            if not self.hub.toward_client:
                return
            for item in self.session.received(self.hub.toward_client.popleft(), 0.0):
                self.items.append(item)
                if isinstance(item, Settled):
                    entry = self.queue.in_flight(item.id)
                    assert entry is not None
                    assert isinstance(item.result, Accepted)
                    self.queue.accept(entry, item.result)
                    self.settled.append(entry.draft.event_id)

    def settle(self) -> None:
        """Let one last connection run to its end."""
        self.do(("cut", 0))
        while self.hub.toward_client:
            self.deliver(1_000_000)
            self.send(1_000_000)

    def offsets(self) -> list[int]:
        return [int(item.position.partition(":")[2]) for item in self.items if isinstance(item, ReceivedEvent)]


def run(since: str, resent: int, script: Sequence[Step]) -> Drive:
    drive = Drive(since, resent)
    drive.do(("cut", 0))
    for step in script:
        drive.do(step)
    drive.settle()
    return drive


@given(steps, st.integers(0, 3))
def test_reading_from_first_yields_each_event_once_in_order(script: list[Step], resent: int) -> None:
    """Also from a hub that resumes with some events that were already read."""
    drive = run("first", resent, script)
    assert drive.offsets() == list(range(1, len(drive.hub.log) + 1))


@given(steps)
def test_reading_from_now_yields_each_event_once_in_order(script: list[Step]) -> None:
    drive = run("now", 0, script)
    offsets = drive.offsets()
    last = len(drive.hub.log)
    assert offsets == list(range(last - len(offsets) + 1, last + 1))


@given(steps)
def test_snapshot_has_the_newest_of_each_key_and_no_gap_follows(script: list[Step]) -> None:
    drive = run("snapshot", 0, script)
    offsets = drive.offsets()
    assert len(set(offsets)) == len(offsets), "no event comes twice, however often the snapshot begins"
    newest = {dataset: offset for offset, (dataset, _, _) in enumerate(drive.hub.log, 1)}
    assert set(newest.values()) <= set(offsets)
    began = next(index for index, item in enumerate(drive.items) if isinstance(item, Live))
    place = int(drive.items[began].position.partition(":")[2])  # type: ignore[union-attr]
    after = [int(item.position.partition(":")[2]) for item in drive.items[began:] if isinstance(item, ReceivedEvent)]
    assert after == list(range(place + 1, len(drive.hub.log) + 1))


@given(steps)
def test_publication_is_stored_once_in_order_and_settled_once(script: list[Step]) -> None:
    drive = run("now", 0, script)
    stored = [event_id for _, _, event_id in drive.hub.log if event_id]
    assert stored == [f"event-{number:012}" for number in range(drive.published)]
    assert drive.settled == stored
    assert drive.queue.left == 0


def test_session_stops_when_it_is_replaced_again() -> None:
    session = Session(CONTRACT)
    ends = []
    for code in (4102, 1006, 4102):
        greet(session)
        ends.append(session.lost(code, "").final)
    assert ends == [False, False, True]
