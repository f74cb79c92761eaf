from tidings.client.cursor import Cursor
from tidings.client.events import Live
from tidings.protocol import messages
from tidings.protocol.messages import Subscribed


def subscribed(outcome: str, position: str = "e:9") -> Subscribed:
    return Subscribed(channels=["data"], position=position, outcome=outcome)


def test_cursor_does_not_move_during_a_snapshot() -> None:
    cursor = Cursor(["data"], "snapshot")
    cursor.subscribed(subscribed("snapshot"))
    assert cursor.received("e:2")
    assert (cursor.position, cursor.since) == (None, "snapshot")
    assert cursor.live(messages.Live(channels=["data"], position="e:9")) == Live(position="e:9", outcome="snapshot")
    assert (cursor.position, cursor.since) == ("e:9", "e:9")


def test_repeated_snapshot_yields_only_new_events() -> None:
    cursor = Cursor(["data"], "snapshot")
    cursor.subscribed(subscribed("snapshot"))
    assert cursor.received("e:2")
    cursor.subscribed(subscribed("snapshot", "e:12"))
    assert not cursor.received("e:2")
    assert cursor.received("e:11")
    assert cursor.duplicates == 1


def test_cursor_moves_with_the_events_after_a_gap() -> None:
    cursor = Cursor(["data"], "e:1")
    cursor.subscribed(subscribed("gap", "f:0"))
    assert cursor.since == "e:1"
    cursor.received("f:7")
    assert cursor.since == "f:7"


def test_cursor_remembers_a_bounded_number_of_positions() -> None:
    cursor = Cursor(["data"], "now")
    cursor.subscribed(subscribed("live"))
    for offset in range(5_000):
        assert cursor.received(f"e:{offset}")
    assert len(cursor._seen) == 1_024
    assert not cursor.received("e:4999")
    assert not cursor.received("e:3976")


def test_lost_position_begins_with_a_snapshot() -> None:
    cursor = Cursor(["data"], "now")
    cursor.subscribed(subscribed("live"))
    assert cursor.lose_position() == "e:9"
    assert cursor.since == "snapshot"
