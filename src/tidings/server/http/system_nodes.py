"""The nodes of a hub of several machines in `GET /v1/system`: as the journal shows them, so none has to be asked."""

from msgspec import Struct

from tidings.log.journal.sessions import LIVE_S
from tidings.log.replicated import ReplicatedLog
from tidings.server.running_hub import RunningHub


class NodeView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One machine of a hub of several."""

    name: str
    """Its host, and a number of its folder."""
    version: str
    """Its version of tidings."""
    ready: bool
    """Whether it sent a sign of life within 3 s and does not drain; for the node that answers, `SystemView.ready`."""
    here: bool = False
    """Whether it is the node that answers."""
    leads: bool = False
    """Whether it publishes what one node publishes for all."""
    silent_s: float
    """Time since its last sign of life; one comes each second."""
    behind_entries: int
    """Entries of the journal that it had not stored at its last sign of life."""
    connections: int | None = None
    """Its connections, as it reported them last, every 10 s; None before that."""


def list_nodes(running: RunningHub, *, ready: bool) -> list[NodeView] | None:
    """Return the nodes that take part, the oldest first; None for a hub of one machine.

    Args:
        running: This node.
        ready: Whether this node is ready.
    """
    log = running.hub.log
    if not isinstance(log, ReplicatedLog):
        return None
    reported = {} if running.figures is None else running.figures.by_source()
    views = []
    for node in log.list_nodes():
        connections = float(len(running.connections)) if node.is_own else reported.get(node.name, {}).get("connections")
        views.append(
            NodeView(
                name=node.name,
                version=node.version,
                ready=ready if node.is_own else not node.drains and node.silent_s <= LIVE_S,
                here=node.is_own,
                leads=node.leads,
                silent_s=round(node.silent_s, 3),
                behind_entries=node.behind_entries,
                connections=None if connections is None else int(connections),
            )
        )
    return views
