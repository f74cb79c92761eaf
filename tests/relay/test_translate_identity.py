from tidings.protocol.envelope import check_event_id
from tidings.relay.translate import derive_event_id

EVENT = ("data:update", "2025-07-30T12:00:00.5Z", "trace", "data", b'{"dataset":"a"}')


def test_the_same_event_has_the_same_id_in_every_process() -> None:
    assert derive_event_id(*EVENT) == "relay-6a032bd65946aa09777de7c2970de683b6a42fd1"
    assert check_event_id(derive_event_id(*EVENT)) == derive_event_id(*EVENT)


def test_every_part_counts_and_none_runs_into_the_next() -> None:
    ids = {derive_event_id(*EVENT)}
    for number in range(4):
        changed = list(EVENT)
        changed[number] += "x"  # type: ignore[operator]
        ids.add(derive_event_id(*changed))  # type: ignore[arg-type]
    ids.add(derive_event_id(*EVENT[:4], b'{"dataset":"b"}'))
    ids.add(derive_event_id("data:update2", "025-07-30T12:00:00.5Z", *EVENT[2:]))
    assert len(ids) == 7
