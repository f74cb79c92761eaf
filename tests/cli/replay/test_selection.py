import io
import json
from typing import Any

import pytest
from msgspec import Raw

from tidings.cli.recordings import RecordedEnvelope
from tidings.cli.replay.selection import HUB, is_from_hub, survey
from tidings.cli.replay.timing import read_bound
from tidings.contract.contract import Contract
from tidings.hub.system_status import SOURCE
from tidings.protocol.timestamps import to_nanoseconds


@pytest.mark.parametrize(
    ("type", "data", "own"),
    [
        ("operation:start", {}, False),
        ("operation:estimate", {}, True),
        ("license:expired", {}, True),
        ("connection:established", {}, True),
        ("channel:live", {}, True),
        ("system:status", {"source": SOURCE}, True),
        ("system:metrics", {"source": "postgres"}, False),
        ("system:status", {}, False),
        ("system:alert", {"alert_id": f"{SOURCE}:log"}, True),
        ("system:alert", {"alert_id": "producer_away:op-1"}, False),
        ("system:alert", 5, False),
        ("nobody:knows", {"source": SOURCE}, False),
    ],
)
def test_events_of_a_hub_are_recognised(type: str, data: Any, own: bool) -> None:
    assert is_from_hub(Contract(), RecordedEnvelope(type, data=Raw(json.dumps(data).encode()))) is own
    assert HUB == SOURCE


def recording(*seconds: int) -> io.BytesIO:
    said = '{"format":1,"program":"p","url":"u","paths":[],"since":""}'
    header = f'{{"type":"tidings:recording","timestamp":"2025-07-30T12:00:00Z","data":{said}}}'
    lines = [
        f'{{"type":"data:update","timestamp":"2025-07-30T11:00:{s:02d}Z","received":"2025-07-30T12:00:{s:02d}Z"}}'
        for s in seconds
    ]
    return io.BytesIO("\n".join([header, *lines, '{"type":"channel:live","data":{}}']).encode())


@pytest.mark.parametrize(
    ("begin", "end", "events", "newest"),
    [
        (None, None, 4, 40),
        ("10s", None, 3, 40),
        ("11s", "40s", 1, 20),
        (None, "2025-07-30T12:00:20Z", 2, 10),
        ("1h", None, 0, None),
    ],
)
def test_an_offset_counts_from_the_beginning_of_the_recording(
    begin: str | None, end: str | None, events: int, newest: int | None
) -> None:
    found = survey(
        recording(5, 10, 20, 40),
        Contract(),
        by_timestamp=False,
        begin=(begin and read_bound("from", begin)) or None,
        end=(end and read_bound("until", end)) or None,
    )
    assert found.events == events
    assert found.newest_ns == (0 if newest is None else to_nanoseconds(f"2025-07-30T11:00:{newest}Z"))


def test_a_survey_by_timestamps_begins_with_the_first_event() -> None:
    found = survey(recording(5, 10, 20, 40), Contract(), by_timestamp=True, begin=read_bound("from", "10s"), end=None)
    assert found.events == 2
