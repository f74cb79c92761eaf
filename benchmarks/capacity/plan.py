"""The arithmetic of a plan: what each node does, before and after one of them is lost."""

from collections.abc import Iterator
from math import ceil

from msgspec import Struct

from benchmarks.capacity.costs import Costs
from benchmarks.capacity.storm import Storm, simulate
from tidings.hub.config import HubConfig

EVENT_BYTES_ON_THE_WIRE = 254
"""An event of 250 bytes and the head of its frame."""
ENTRY_OVERHEAD_BYTES = 200
"""Of an entry of the journal, with the headers of its engine."""


class Plan(Struct, frozen=True, kw_only=True):
    """What is planned."""

    connections: int = 1_000_000
    nodes: int = 24
    events_per_s: int = 2_000
    """Events that all publishers together publish."""
    publishing_nodes: int = 3
    """Nodes at which they are published; the fewer these are, the larger are the entries of the journal."""
    entries_per_s_of_node: int = 200
    """Entries that a publishing node appends: one at a time, each of which takes a few milliseconds."""
    events_per_client_s: float = 0.2
    """Events that a client receives, on average."""
    reconnect_rate: int = 500
    """`--reconnect-rate` of each node."""
    max_busy: float = 0.7
    """Share of its core that a node may use, after one node was lost: beyond that, delays grow."""
    memory_gib: float = 4.0
    """Memory of a node: --retention-bytes within the page cache, recent events, and connections."""


class Node(Struct, frozen=True, kw_only=True):
    """What one node does, in shares of its core unless named otherwise."""

    connections: int
    delivering: float
    heartbeats: float
    folding: float
    """Storing the events of other nodes."""
    publishing: float
    """Storing those that are published at it, if it is one of the publishing nodes."""
    out_mbit: float
    memory_gib: float

    @property
    def busy(self) -> float:
        return self.delivering + self.heartbeats + self.folding + self.publishing


class Result(Struct, frozen=True, kw_only=True):
    """A plan with its figures."""

    plan: Plan
    before: Node
    after: Node
    entries_per_s: float
    journal_out_mbit: float
    """Bytes that the servers of the journal send to all nodes."""
    lost: Storm
    """The clients of a lost node, at one of the others."""
    everyone: Storm
    """All clients of one node, as after a fault of the network."""
    opening: float
    """Share of a core that connections cost while they open at the reconnect rate."""

    def faults(self) -> Iterator[str]:
        """Yield each limit that the plan does not keep."""
        config = HubConfig()
        if self.after.connections > config.max_connections:
            yield f"{self.after.connections:,} connections of a node are above --max-connections"
        if self.after.busy > self.plan.max_busy:
            yield f"a node is {self.after.busy:.0%} busy after a loss, above {self.plan.max_busy:.0%}"
        if self.after.busy + self.opening > 1:
            yield f"a node is {self.after.busy + self.opening:.0%} busy while clients return"
        if self.after.memory_gib > self.plan.memory_gib:
            yield f"a node needs {self.after.memory_gib:.1f} GiB, above {self.plan.memory_gib:.1f} GiB"


def calculate(plan: Plan, costs: Costs) -> Result:
    """Calculate what a plan needs.

    Raises:
        ValueError: It has fewer than two nodes, or more publishing nodes than nodes.
    """
    if plan.nodes < 2 or not 1 <= plan.publishing_nodes <= plan.nodes:
        raise ValueError("a plan needs two nodes, and publishes at one of them or more")
    entries = plan.nodes + min(plan.events_per_s, plan.publishing_nodes * plan.entries_per_s_of_node)
    journal = plan.events_per_s * EVENT_BYTES_ON_THE_WIRE + entries * ENTRY_OVERHEAD_BYTES
    share = ceil(plan.connections / plan.nodes)
    return Result(
        plan=plan,
        before=_node(plan, costs, plan.nodes, plan.publishing_nodes, entries),
        after=_node(plan, costs, plan.nodes - 1, max(1, plan.publishing_nodes - 1), entries),
        entries_per_s=entries,
        journal_out_mbit=journal * plan.nodes * 8 / 1e6,
        lost=simulate(ceil(share / (plan.nodes - 1)), rate=plan.reconnect_rate),
        everyone=simulate(share, rate=plan.reconnect_rate),
        opening=plan.reconnect_rate * costs.opening_us / 1e6,
    )


def _node(plan: Plan, costs: Costs, nodes: int, publishing_nodes: int, entries: float) -> Node:
    config = HubConfig()
    connections = ceil(plan.connections / nodes)
    deliveries = connections * plan.events_per_client_s
    # A connection that received something within the interval needs no heartbeat: the greatest number is planned for.
    heartbeats = connections / config.heartbeat_s
    own_events = plan.events_per_s / publishing_nodes
    log_gib = 1.0
    return Node(
        connections=connections,
        delivering=deliveries * costs.delivery_us / 1e6,
        heartbeats=heartbeats * costs.heartbeat_us / 1e6,
        folding=(entries * costs.entry_us + (plan.events_per_s - own_events) * costs.event_us) / 1e6,
        publishing=own_events * costs.publishing_us / 1e6,
        out_mbit=(deliveries * EVENT_BYTES_ON_THE_WIRE + heartbeats * 100) * 8 / 1e6,
        memory_gib=costs.node_mib / 1024
        + connections * costs.connection_kib / 2**20
        + (config.ring_bytes + config.outbound_bytes) / 2**30
        + log_gib,
    )
