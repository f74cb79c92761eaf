import pytest

from tidings.access.subjects import AccessRequest, Credential
from tidings.access.tickets import MAX_TICKETS, MAX_TICKETS_PER_SUBJECT, TICKET_LIFETIME_S, Ticket, TicketFound, Tickets
from tidings.exceptions import InvalidTicket

REQUEST = AccessRequest(address="192.0.2.1")
CREDENTIAL = Credential("tdk_1_secret", "header")


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def redeem(tickets: Tickets, value: str) -> Ticket:
    """Use a ticket of this process.

    Raises:
        InvalidTicket: It is not valid.
    """
    found: list[Ticket | InvalidTicket] = []
    tickets.redeem(value, found.append)
    [result] = found
    if isinstance(result, InvalidTicket):
        raise result
    return result


def test_ticket_stands_for_its_credential_once() -> None:
    tickets = Tickets(Clock())
    value = tickets.issue("ada", CREDENTIAL, REQUEST)
    ticket = redeem(tickets, value)
    assert (ticket.subject, ticket.credential, ticket.request) == ("ada", CREDENTIAL, REQUEST)
    with pytest.raises(InvalidTicket):
        redeem(tickets, value)
    assert "secret" not in repr(ticket)


def test_ticket_expires_after_its_lifetime() -> None:
    clock = Clock()
    tickets = Tickets(clock)
    first, second = (tickets.issue("ada", CREDENTIAL, REQUEST) for _ in range(2))
    clock.now_s = TICKET_LIFETIME_S - 0.01
    redeem(tickets, first)
    clock.now_s += 0.01
    with pytest.raises(InvalidTicket):
        redeem(tickets, second)
    assert len(tickets) == 0


def test_subject_with_too_many_tickets_loses_its_oldest() -> None:
    tickets = Tickets(Clock())
    other = tickets.issue("eve", CREDENTIAL, REQUEST)
    own = [tickets.issue("ada", CREDENTIAL, REQUEST) for _ in range(MAX_TICKETS_PER_SUBJECT + 1)]
    with pytest.raises(InvalidTicket):
        redeem(tickets, own[0])
    assert [redeem(tickets, value).subject for value in (other, *own[1:])] == ["eve"] + ["ada"] * (len(own) - 1)


def test_number_of_all_tickets_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidings.access.tickets.MAX_TICKETS", 10)
    assert MAX_TICKETS >= 10
    tickets = Tickets(Clock())
    for number in range(50):
        tickets.issue(f"subject-{number}", CREDENTIAL, REQUEST)
    assert len(tickets) == 10


def test_other_processes_are_asked_for_a_ticket_of_theirs_only() -> None:
    tickets, asked = Tickets(Clock()), list[str]()

    def ask_others(value: str, found: TicketFound) -> None:
        asked.append(value)
        found(Ticket("eve", CREDENTIAL, REQUEST))

    tickets.ask_others = ask_others
    own, other = tickets.issue("ada", CREDENTIAL, REQUEST), Tickets(Clock()).issue("eve", CREDENTIAL, REQUEST)
    assert [redeem(tickets, value).subject for value in (own, other)] == ["ada", "eve"]
    with pytest.raises(InvalidTicket):
        redeem(tickets, "tdt_forged")
    assert asked == [other], "what is not a ticket costs no other process anything"
