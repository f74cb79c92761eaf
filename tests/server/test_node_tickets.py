"""Tickets of one node that are used at another, over notes in memory."""

from collections.abc import Callable
from secrets import token_urlsafe

from tidings.access.subjects import AccessRequest, Credential
from tidings.access.tickets import TICKET_PREFIX, Ticket, Tickets
from tidings.exceptions import InvalidTicket
from tidings.server.cluster.tickets import ANSWER_S, MAX_ASKED, NodeTickets
from tidings.testing.clock import ManualClock
from tidings.testing.loop import ManualLoop


class Notes:
    """Notes of one node: all nodes receive them, this one as well."""

    def __init__(self, nodes: "list[Notes]") -> None:
        self.source = str(len(nodes))
        self.receivers: dict[str, Callable[[int, bytes], object]] = {}
        self.sent = 0
        self._nodes = nodes
        nodes.append(self)

    def tell(self, about: str, body: bytes) -> None:
        self.sent += 1
        for node in self._nodes:
            if about in node.receivers:
                node.receivers[about](self.sent, body)


class Machine:
    """A node with its tickets."""

    def __init__(self, nodes: list[Notes], loop: ManualLoop, clock: ManualClock) -> None:
        self.notes = Notes(nodes)
        self.tickets = Tickets(lambda: clock.now)
        NodeTickets(self.notes, self.tickets, loop)

    def issue(self) -> str:
        request = AccessRequest(headers={}, address="192.0.2.1", method="GET", path="/")
        return self.tickets.issue("ada", Credential("secret", "header"), request)


def invent_ticket() -> str:
    return TICKET_PREFIX + token_urlsafe(24)


def test_invented_tickets_are_asked_for_up_to_a_bound() -> None:
    clock, nodes = ManualClock(), list[Notes]()
    loop = ManualLoop(clock)
    first, second = Machine(nodes, loop, clock), Machine(nodes, loop, clock)
    results: list[Ticket | InvalidTicket] = []
    for _ in range(MAX_ASKED):
        second.tickets.redeem(invent_ticket(), results.append)
    assert (second.notes.sent, first.notes.sent, results) == (MAX_ASKED, 0, [])
    second.tickets.redeem(first.issue(), results.append)
    assert second.notes.sent == MAX_ASKED
    assert "too many" in str(results.pop())
    second.tickets.redeem("invented", results.append)
    assert (second.notes.sent, len(results)) == (MAX_ASKED, 1), "one that cannot be a ticket is refused here"
    loop.advance(ANSWER_S)
    assert len(results) == MAX_ASKED + 1
    assert all(isinstance(result, InvalidTicket) for result in results)
    second.tickets.redeem(first.issue(), results.append)
    assert isinstance(results[-1], Ticket)
    assert (second.notes.sent, first.notes.sent) == (MAX_ASKED + 1, 1)
