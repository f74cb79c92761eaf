"""Controls of hubs that share a log: heard by all in one order, and stored with the events."""

from collections.abc import Iterator

import pytest
from msgspec import structs
from tests.log.replicated_harness import ManualReplicatedHarness, MemoryLocalHarness, is_settled
from tests.log.sqlite_harness import SqliteHarness

from tidings.log.base import Log, ReceivedControl, Retention, SessionEnded
from tidings.log.journal.controls import (
    MAX_KEY_BYTES,
    CancelAnswered,
    CancelRequested,
    HeldClaim,
    KeyRemoved,
    KeyShared,
    ProducerDetached,
    ProducerSeen,
)
from tidings.log.journal.sessions import GONE_S
from tidings.log.local_log import LocalLog
from tidings.log.replicated import ReplicatedLog
from tidings.log.shared_keys import MAX_BYTES as MAX_KEYS_BYTES
from tidings.log.shared_keys import MAX_KEYS, SharedKeyTable
from tidings.testing.log_conformance.controls import attached
from tidings.testing.log_conformance.harness import EventFactory, LogHarness
from tidings.testing.manual_journal import ManualEngine


@pytest.fixture(params=[MemoryLocalHarness, SqliteHarness], ids=["memory", "sqlite"])
def harness(request: pytest.FixtureRequest) -> Iterator[ManualReplicatedHarness]:
    local: LogHarness = request.param()
    with ManualReplicatedHarness(local, lost=0.2, doubled=0.3, max_delay_s=0.05) as harness:
        assert isinstance(harness, ManualReplicatedHarness)
        yield harness


def follow(log: Log) -> list[object]:
    order: list[object] = []
    log.follow(lambda records: order.extend(record.offset for record in records), order.append)
    return order


def requested(operation_id: str, push_id: str = "push", *, is_due: bool = True) -> CancelRequested:
    return CancelRequested(operation_id, 1, push_id, 5, None, "ada", is_due=is_due)


def test_all_hubs_hear_one_order_and_one_of_them_as_its_own(harness: ManualReplicatedHarness) -> None:
    make, first = EventFactory(), harness.open(Retention())
    second = harness.other(first)
    orders = [follow(first), follow(second)]
    results: list[object] = []
    for number in range(30):
        for log in (first, second):
            log.record(attached(f"p-{number}", number, HeldClaim("op", None, 5.0)))
        first.append([make("data:update")], results.append)
        second.append([make("operation:start", f"op-{number}")], results.append)
        harness.settle()
        second.record(ProducerDetached(f"p-{number}", number))
    harness.settle()
    heard = [[each for each in order if isinstance(each, ReceivedControl)] for order in orders]
    assert [(each.control, each.own) for each in heard[0]] == [(each.control, not each.own) for each in heard[1]]
    plain = [[each.control if isinstance(each, ReceivedControl) else each for each in order] for order in orders]
    assert plain[0] == plain[1]
    assert sum(isinstance(each, int) for each in plain[0]) == 60
    assert sum(each.own for each in heard[0]) == 30
    assert dict(first.producers) == dict(second.producers)


def test_claims_on_two_hubs_have_one_holder(harness: ManualReplicatedHarness) -> None:
    make, first = EventFactory(), harness.open(Retention())
    second = harness.other(first)
    orders = [follow(first), follow(second)]
    harness.append(first, *(make("operation:start", f"op-{number}") for number in range(20)))
    claims = [HeldClaim(f"op-{number}", 1, 5.0) for number in range(20)]
    first.record(attached("p", 1, *claims))
    second.record(attached("q", 1, *claims))
    harness.settle()
    verdicts = [
        [verdict.verdict for each in order if isinstance(each, ReceivedControl) for verdict in each.verdicts]
        for order in orders
    ]
    assert verdicts[0] == verdicts[1] == ["held"] * 20 + ["lost"] * 20
    assert [first.operations.life(f"op-{number}") for number in range(20)] == [
        second.operations.life(f"op-{number}") for number in range(20)
    ]


def test_events_are_limited_by_the_live_operations_of_the_log(harness: ManualReplicatedHarness) -> None:
    make, first = EventFactory(), harness.open(Retention())
    starts = [structs.replace(make("operation:start", f"op-{number}"), max_live=2) for number in range(3)]
    harness.append(first, *starts[:2])
    (outcome,) = harness.outcomes(first, starts[2])
    assert getattr(outcome, "code", "") == "limit_exceeded"


class Nodes:
    """Nodes of one manual journal that are killed and started again on their files."""

    def __init__(self, harness: ManualReplicatedHarness, local: SqliteHarness) -> None:
        self.harness = harness
        self.local = local
        self.engine = ManualEngine(harness.loop, harness.clock)
        self.retention = Retention()

    def start(self, name: str, log: LocalLog | None = None) -> ReplicatedLog:
        node = ReplicatedLog(
            self.engine.open(),
            log or self.local.open(self.retention),
            self.harness.loop,
            node=name,
            version="1",
            new_name=self.harness.new_name,
        )
        node.start(self.engine.state().last)
        self.settle(node)
        return node

    def settle(self, *nodes: ReplicatedLog) -> None:
        self.harness.run_until(lambda: all(map(is_settled, nodes)) and len({node.seq for node in nodes}) == 1)

    def restart(self, name: str, log: LocalLog) -> ReplicatedLog:
        """Start a node on what a kill left of its log."""
        return self.start(name, self.local.crash(log, self.retention))


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    with SqliteHarness() as local, ManualReplicatedHarness(local) as harness:
        assert isinstance(harness, ManualReplicatedHarness)
        assert isinstance(local, SqliteHarness)
        yield Nodes(harness, local)


@pytest.mark.parametrize("stored", [True, False])
def test_killed_node_knows_holders_and_requests_again(nodes: Nodes, stored: bool) -> None:
    make = EventFactory()
    own = nodes.local.open(nodes.retention)
    node, other = nodes.start("a", own), nodes.start("b")
    harness_results: list[object] = []
    other.append([make("operation:start", key) for key in ("op", "cancelled", "ended")], harness_results.append)
    nodes.settle(node, other)
    other.record(attached("p", 1, HeldClaim("op", 1, 7.0)))
    other.record(attached("gone", 2))
    other.record(ProducerDetached("gone", 2))
    other.record(ProducerSeen("posts", 9.0, 0.0))
    for control in (requested("cancelled", is_due=False), requested("cancelled"), requested("ended")):
        other.record(control)
    other.record(CancelAnswered("cancelled", "push", "stopping", None))
    nodes.settle(node, other)
    if stored:
        other.append([make("operation:complete", "ended")], harness_results.append)
        nodes.settle(node, other)
    again = nodes.restart("a", own)
    nodes.settle(again, other)
    assert dict(again.producers) == dict(other.producers)
    assert again.producers.sign("p") == other.producers.sign("p") > 0
    assert again.producers.attached_to(other.session) == [("p", 1)]
    assert again.operations.life("op") == other.operations.life("op")
    heard = [each.control for each in follow(again) if isinstance(each, ReceivedControl)]
    assert heard == [requested("cancelled"), *([] if stored else [requested("ended")])]


@pytest.mark.parametrize("stored", [True, False])
def test_killed_node_knows_the_keys_of_all_nodes_again(nodes: Nodes, stored: bool) -> None:
    make = EventFactory()
    own = nodes.local.open(nodes.retention)
    node, other = nodes.start("a", own), nodes.start("b")
    for control in (
        KeyShared("kept", "b", b"older"),
        KeyShared("kept", "b", b"newer"),
        KeyShared("removed", "b", b"line"),
        KeyShared("of another", "a", b"line"),
    ):
        other.record(control)
    nodes.settle(node, other)
    other.record(KeyRemoved("removed", "b"))
    other.record(KeyRemoved("of another", "b"))
    nodes.settle(node, other)
    if stored:
        other.append([make("data:update")], lambda result: None)
        nodes.settle(node, other)
    again = nodes.restart("a", own)
    nodes.settle(again, other)
    assert dict(again.shared_keys) == dict(other.shared_keys)
    assert {id: row.line for id, row in again.shared_keys.items()} == {"kept": b"newer", "of another": b"line"}


def test_keys_beyond_the_bounds_are_left_out_until_there_is_room() -> None:
    table = SharedKeyTable()
    line = bytes(MAX_KEY_BYTES)
    fitting = MAX_KEYS_BYTES // MAX_KEY_BYTES
    for number in range(fitting + 1):
        table.fold(KeyShared(str(number), "a", line))
    assert len(table.rows) == fitting
    assert not table.has_room(KeyShared("more", "a", b"1"))
    table.fold(KeyShared("0", "a", b"shorter"))
    table.fold(KeyRemoved("1", "a"))
    more = KeyShared("more", "a", line)
    assert table.has_room(more)
    table.fold(more)
    assert table.rows["more"] == more
    for number in range(MAX_KEYS):
        table.fold(KeyShared(f"short-{number}", "a", b""))
    assert len(table.rows) == MAX_KEYS
    restored = SharedKeyTable()
    restored.restore(row for row in table.take_changes().values() if row is not None)
    assert restored.rows == table.rows
    assert restored.has_room(more) == table.has_room(more)


def test_producers_of_a_hub_that_is_gone_are_detached(harness: ManualReplicatedHarness) -> None:
    first = harness.open(Retention())
    second = harness.other(first)
    order = follow(second)
    make = EventFactory()
    harness.append(first, structs.replace(make("operation:start", "op"), producer_id="p", lease_s=5.0))
    first.record(attached("p", 1))
    harness.settle()
    session = first.session
    first.close()
    harness.loop.advance(GONE_S + 3)
    heard = [each for each in order if isinstance(each, ReceivedControl) and isinstance(each.control, SessionEnded)]
    assert heard == [ReceivedControl(SessionEnded(session), False, (), ["p"])]
    assert not second.producers.is_attached("p")
    assert second.leads


def test_hub_that_was_taken_for_dead_hears_the_end_of_its_session() -> None:
    with MemoryLocalHarness() as local, ManualReplicatedHarness(local) as harness:
        assert isinstance(harness, ManualReplicatedHarness)
        engine = ManualEngine(harness.loop, harness.clock)
        journals = [engine.open(), engine.open()]
        logs = []
        for name, journal in zip("ab", journals, strict=True):
            log = ReplicatedLog(
                journal,
                local.open(Retention()),  # type: ignore[arg-type]
                harness.loop,
                node=name,
                version="1",
                new_name=harness.new_name,
            )
            log.start(engine.state().last)
            harness.run_until(lambda log=log: is_settled(log))  # type: ignore[misc]
            logs.append(log)
        first, second = logs
        order, before = follow(first), first.session
        first.record(attached("p", 1))
        harness.loop.advance(1.0)
        journals[0].leave()
        first.record(attached("late", 2))
        harness.loop.advance(GONE_S + 5)
        assert not second.producers.is_attached("p")
        journals[0].come_back()
        harness.run_until(lambda: is_settled(first) and first.seq == second.seq)
        ends = [each for each in order if isinstance(each, ReceivedControl) and isinstance(each.control, SessionEnded)]
        assert [(each.control, each.own, list(each.detached)) for each in ends] == [(SessionEnded(before), True, ["p"])]
        assert first.session != before
        assert second.producers.attached_to(first.session) == [("late", 2)]
        for log in logs:
            log.close()
