"""Random events and batches, for the tests of entries."""

from hypothesis import strategies as st

from tidings.log.base import EventToAppend, OperationSearch
from tidings.log.journal.controls import (
    Begin,
    ClockJump,
    Control,
    Forget,
    Heartbeat,
    HubNote,
    KeyRemoved,
    KeyShared,
    NewEpoch,
    NodeGone,
    Revoke,
)
from tidings.log.journal.entries import RULES, NodeBatch
from tidings.protocol.envelope import Event
from tidings.protocol.message_types import EventClass, SlotEffect
from tidings.protocol.paths import Path, PathSet

RECEIVED_NS = 1_800_000_000_000_000_000
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=64)
numbers = st.integers(0, 2**63 - 1)

path_sets = st.lists(st.builds(Path, texts, st.none() | texts, st.booleans()), max_size=3).map(PathSet.of)
writables = st.none() | st.lists(st.tuples(texts, path_sets), max_size=2).map(tuple)

events = st.builds(
    EventToAppend,
    event=st.builds(
        Event,
        type=texts,
        timestamp=texts,
        trace_id=texts,
        data=st.binary(max_size=300),
        channel=texts,
        key=st.none() | texts,
        event_class=st.sampled_from([EventClass.LATEST, EventClass.DURABLE]),
        event_id=st.none() | texts,
        effect=st.sampled_from(SlotEffect),
    ),
    received_ns=numbers,
    scope=texts,
    producer_id=texts,
    lease_s=st.floats(0, 1e9),
    by_hub=st.booleans(),
    has_own_trace=st.booleans(),
    search=st.none()
    | st.builds(OperationSearch, st.none() | st.lists(st.tuples(texts, path_sets)).map(tuple), st.booleans()),
    running_attempt=st.sampled_from([0, 1, 2**63 - 1]),
)
controls: st.SearchStrategy[Control] = st.one_of(
    st.builds(Begin, node=names, after=numbers, rules=numbers, version=names),
    st.builds(Heartbeat, seq=numbers, crc=numbers),
    st.builds(NodeGone, session=names, number=numbers),
    st.builds(NewEpoch, name=names, instead_of=texts),
    st.builds(Forget, now_ns=numbers),
    st.builds(
        Revoke,
        kind=st.sampled_from(["credential", "subject"]),
        name=texts,
        issued_before_ns=numbers,
        kept_until_ns=st.none() | numbers,
    ),
    st.builds(ClockJump, jump_ns=st.integers(-(2**63), 2**63 - 1)),
    st.builds(HubNote, about=names, body=st.binary(max_size=300)),
    st.builds(KeyShared, id=names, node=names, line=st.binary(max_size=300)),
    st.builds(KeyRemoved, id=names, node=names),
)
batches = st.builds(
    NodeBatch,
    rules=st.integers(0, RULES),
    session=names,
    number=st.integers(1, 2**63 - 1),
    events=st.lists(events, max_size=5),
    controls=st.lists(controls, max_size=5),
)
