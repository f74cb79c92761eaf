"""Nodes in memory that fold one manual journal, and keep what they folded."""

import zlib
from collections import Counter
from collections.abc import Sequence

from tests.log.journal.events import RECEIVED_NS

from tidings.exceptions import LogError
from tidings.log.base import EventToAppend
from tidings.log.journal.base import LossReason
from tidings.log.journal.node import FoldedEntry, FoldState, JournalNode
from tidings.protocol.envelope import Event
from tidings.protocol.message_types import EventClass
from tidings.testing.clock import ManualClock
from tidings.testing.loop import ManualLoop
from tidings.testing.manual_journal import ManualEngine, ManualJournal


def make_event(text: str) -> EventToAppend:
    event = Event("data:update", "", "trace", text.encode(), "data", None, EventClass.DURABLE)
    return EventToAppend(event, RECEIVED_NS)


class Storage:
    """What a node has on its disk: the events that it folded, and the state after them."""

    def __init__(self) -> None:
        self.state = FoldState()
        self.texts: list[str] = []
        self.seqs: list[int] = []


class TestNode:
    """A process of a node.

    Args:
        cluster: Its cluster.
        name: Its name, which stays the same after a restart.
        storage: Its disk.
        store_s: Time that storing an entry takes; 0 is within the call.
    """

    __test__ = False

    def __init__(self, cluster: "Cluster", name: str, storage: Storage, store_s: float) -> None:
        self.cluster = cluster
        self.name = name
        self.storage = storage
        self.losses: list[tuple[LossReason, LogError]] = []
        self.skew = b""
        """Added to all outcomes: a judge that decides otherwise than on the other nodes."""
        self.alive = True
        self.unsent: list[list[str]] = []
        self.under_way: list[str] = []
        self.answered: list[str] = []
        """Events that were folded, as their publishers learn it."""
        self._store_s = store_s
        self.journal: ManualJournal = cluster.engine.open()
        self.node = JournalNode(
            self.journal,
            cluster.loop,
            name=name,
            version="1",
            new_session=cluster.new_session,
            fold=self._fold,
            lost=lambda reason, error: self.losses.append((reason, error)),
        )
        self.node.follow(storage.state)
        self.node.join(cluster.engine.state().last)

    def publish(self, texts: Sequence[str]) -> None:
        self.unsent.append(list(texts))
        self._propose()

    def _propose(self) -> None:
        if self.unsent and not self.under_way and not self.node.busy and self.node.joined:
            self.under_way = self.unsent.pop(0)
            self.node.propose([make_event(text) for text in self.under_way], ())

    def _fold(self, folded: FoldedEntry) -> None:
        if self._store_s:
            self.cluster.loop.call_later(self._store_s, lambda: self._store(folded))
        else:
            self._store(folded)

    def _store(self, folded: FoldedEntry) -> None:
        if not self.alive:
            return
        texts = [entry.event.data.decode() for entry in folded.batch.events]
        self.node.settle(b"a try that failed")
        state = self.node.settle("".join(texts).encode() + self.skew)
        self.storage.state = FoldState.decode(state.encode())
        self.storage.texts += texts
        self.storage.seqs.append(folded.entry.seq)
        self.cluster.note(folded.entry.seq, zlib.crc32(state.encode()) if not self.skew else 0)
        if folded.own and texts:
            assert texts == self.under_way
            self.answered += texts
            self.under_way = []
        self.node.resume()
        self._propose()

    def kill(self) -> None:
        self.alive = False
        self.node.stop()
        self.journal.close()


class Cluster:
    """Nodes of one journal.

    Args:
        nodes: Number of nodes.
        store_s: See `TestNode`.
        faults: See `ManualEngine`.
    """

    def __init__(self, nodes: int, *, store_s: float = 0.0, **faults: float) -> None:
        self.clock = ManualClock()
        self.loop = ManualLoop(self.clock)
        self.engine = ManualEngine(self.loop, self.clock, **faults)  # type: ignore[arg-type]
        self._store_s = store_s
        self._sessions = 0
        self._states: dict[int, set[int]] = {}
        self.nodes = [TestNode(self, f"node-{number}", Storage(), store_s) for number in range(nodes)]

    def new_session(self) -> str:
        self._sessions += 1
        return f"session-{self._sessions}"

    def note(self, seq: int, state: int) -> None:
        """Note the state of a node after an entry."""
        self._states.setdefault(seq, set()).add(state)

    def restart(self, number: int) -> None:
        """Kill a node, and start its process again with what it has on its disk."""
        old = self.nodes[number]
        old.kill()
        self.nodes[number] = node = TestNode(self, old.name, old.storage, self._store_s)
        node.answered = old.answered

    def heal(self) -> None:
        """Take the faults away, and let all nodes fold everything."""
        self.engine.lost = self.engine.doubled = self.engine.max_delay_s = 0.0
        for node in self.nodes:
            node.journal.come_back()
        self.loop.advance(60.0)

    def check(self, published: Sequence[str]) -> None:
        """Check what all nodes agree upon, after `heal`."""
        assert {seq: states for seq, states in self._states.items() if len(states) > 1} == {}, "equal states"
        first, *others = (node.storage for node in self.nodes)
        for other in others:
            shared = set(first.seqs) & set(other.seqs)
            assert max(first.seqs) - max(shared) < len(self.nodes) * 5
            length = min(len(first.texts), len(other.texts))
            assert first.texts[:length] == other.texts[:length]
        counts = Counter(first.texts)
        assert max(counts.values(), default=1) == 1, "each event once"
        for node in self.nodes:
            assert node.losses == []
            assert not node.unsent
            assert not node.under_way
            assert set(node.answered) <= set(counts)
            own = [text for text in first.texts if text.startswith(node.name)]
            assert own == [text for text in published if text in counts and text.startswith(node.name)], "in order"
