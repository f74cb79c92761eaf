import msgspec
import pytest

from tidings.client.drafts import make_draft, make_unstamped, stamp
from tidings.exceptions import InvalidEnvelope, InvalidEventID, InvalidTraceID


def test_a_draft_has_a_time_and_an_id_of_its_own() -> None:
    first, second = make_draft("data:update"), make_draft("data:update")
    assert first.event_id != second.event_id
    assert first.timestamp.endswith("Z")
    named = make_draft("data:update", event_id="0123456789abcdef", timestamp="2026-01-01T00:00:00Z", trace_id="t")
    assert (named.event_id, named.timestamp, named.trace_id) == ("0123456789abcdef", "2026-01-01T00:00:00Z", "t")


def test_what_cannot_be_written_is_refused() -> None:
    with pytest.raises(InvalidEnvelope):
        make_draft(None)  # type: ignore[arg-type]
    with pytest.raises(InvalidEventID):
        make_draft("data:update", event_id="short")
    with pytest.raises(InvalidTraceID):
        make_unstamped("data:update", trace_id="line\nbreak")


def test_a_stamp_is_the_moment_of_the_event_not_of_the_stamping() -> None:
    draft = stamp(make_unstamped("operation:progress", {"operation_id": "a"}), 1_767_225_600_000_000_000)
    assert draft.timestamp == "2026-01-01T00:00:00Z"
    # A UUIDv7 begins with its milliseconds (RFC 9562 §5.7).
    assert int(draft.event_id.replace("-", "")[:12], 16) == 1_767_225_600_000
    assert msgspec.json.decode(draft.data) == {"operation_id": "a"}
