import json

from tests.cli.watch.event_likes import progress

from tidings.cli.watch.pipe import v1_envelope
from tidings.client.events import Gap, Item, Live

NOW = {"timestamp": "2025-07-30T12:00:00Z", "trace_id": "t" * 32}


def envelope_of(item: Item) -> dict[str, object]:
    envelope: dict[str, object] = json.loads(v1_envelope(item, **NOW))
    return envelope


def test_event_is_written_with_the_hubs_bytes() -> None:
    event = progress("a", 40, message='"quoted"')
    assert envelope_of(event) == {
        "type": "operation:progress",
        "timestamp": event.timestamp,
        "trace_id": event.trace_id,
        "data": json.loads(event.data),
        "channel": "operations",
        "position": event.position,
    }
    assert b"\n" not in v1_envelope(event, **NOW)


def test_notices_are_written_as_their_pushes() -> None:
    assert envelope_of(Gap(after="a:1", until="a:9", reason="trimmed")) == {
        **NOW,
        "type": "channel:gap",
        "data": {"after": "a:1", "until": "a:9", "reason": "trimmed"},
    }
    assert envelope_of(Live(position="a:9", outcome="gap")) == {
        **NOW,
        "type": "channel:live",
        "data": {"position": "a:9", "outcome": "gap"},
        "position": "a:9",
    }
