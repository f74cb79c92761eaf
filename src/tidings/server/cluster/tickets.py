"""Tickets of a hub of several machines: one that a node issued is used once, at any node."""

import secrets
from typing import Final

import msgspec
from msgspec import Struct

from tidings.access.ticket_sealing import is_proven, name_of_ticket, open_sealed, prove_ticket, seal
from tidings.access.tickets import NOT_VALID, TicketFound, Tickets
from tidings.exceptions import InvalidTicket
from tidings.log.base import Scheduler
from tidings.server.cluster.notes import NoteExchange
from tidings.server.workers.sharing import decode_shared_ticket, encode_shared_ticket

ANSWER_S: Final = 2.0
"""Time for the node that issued a ticket to answer; none answers for a ticket that is not valid."""
MAX_ASKED: Final = 1_000
"""Tickets that a node asks for at a time. Questions are stored in the journal, so invented tickets must not fill it:
this allows 500 of them each second, about 75 kB, until the limit of failures refuses their addresses."""
_QUESTION: Final = "ticket asked"
_ANSWER: Final = "ticket"


class _Question(Struct, frozen=True):
    id: str
    """Chosen by the node that asks: several may ask for one ticket, of which one gets it."""
    name: str
    proof: str


class _Answer(Struct, frozen=True):
    id: str
    sealed: bytes


_decode_question = msgspec.json.Decoder(_Question).decode
_decode_answer = msgspec.json.Decoder(_Answer).decode


class NodeTickets:
    """Redeems the tickets of other nodes, and answers when they redeem those of this one.

    Args:
        notes: The notes between the nodes.
        tickets: The tickets of this node.
        scheduler: The loop.
    """

    def __init__(self, notes: NoteExchange, tickets: Tickets, scheduler: Scheduler) -> None:
        self._notes = notes
        self._tickets = tickets
        self._scheduler = scheduler
        self._asked: dict[str, tuple[str, TicketFound]] = {}
        """The tickets that other nodes were asked for, with those who wait, by the id of the question."""
        notes.receivers[_QUESTION] = self._answer
        notes.receivers[_ANSWER] = self._receive
        tickets.ask_others = self._ask

    def _ask(self, value: str, found: TicketFound) -> None:
        if len(self._asked) >= MAX_ASKED:
            found(InvalidTicket("too many tickets of other nodes are used at a time", hint="Use a new ticket."))
            return
        id = secrets.token_hex(8)
        self._asked[id] = value, found
        self._notes.tell(_QUESTION, msgspec.json.encode(_Question(id, name_of_ticket(value), prove_ticket(value))))
        self._scheduler.call_later(ANSWER_S, lambda: self._give_up(id))

    def _give_up(self, id: str) -> None:
        asked = self._asked.pop(id, None)
        if asked is not None:
            asked[1](InvalidTicket(NOT_VALID))

    def _answer(self, number: int, body: bytes) -> None:
        question = _decode_question(body)
        value = self._tickets.find(question.name)
        if value is None or not is_proven(value, question.proof):
            return
        ticket = self._tickets.take(value)
        if ticket is not None:
            sealed = seal(value, encode_shared_ticket(ticket))
            self._notes.tell(_ANSWER, msgspec.json.encode(_Answer(question.id, sealed)))

    def _receive(self, number: int, body: bytes) -> None:
        answer = _decode_answer(body)
        asked = self._asked.pop(answer.id, None)
        if asked is None:
            return
        value, found = asked
        try:
            ticket = decode_shared_ticket(open_sealed(value, answer.sealed))
        except ValueError:  # msgspec's errors are such, too
            ticket = None
        found(ticket or InvalidTicket(NOT_VALID))
