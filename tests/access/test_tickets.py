import pytest

from tidings.access.subjects import AccessRequest, Credential
from tidings.access.tickets import MAX_TICKETS, MAX_TICKETS_PER_SUBJECT, TICKET_LIFETIME_S, Tickets
from tidings.exceptions import InvalidTicket

REQUEST = AccessRequest(address="192.0.2.1")
CREDENTIAL = Credential("tdk_1_secret", "header")


class Clock:
    now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


def test_ticket_stands_for_its_credential_once() -> None:
    tickets = Tickets(Clock())
    value = tickets.issue("ada", CREDENTIAL, REQUEST)
    ticket = tickets.redeem(value)
    assert (ticket.subject, ticket.credential, ticket.request) == ("ada", CREDENTIAL, REQUEST)
    with pytest.raises(InvalidTicket):
        tickets.redeem(value)
    assert "secret" not in repr(ticket)


def test_ticket_expires_after_its_lifetime() -> None:
    clock = Clock()
    tickets = Tickets(clock)
    first, second = (tickets.issue("ada", CREDENTIAL, REQUEST) for _ in range(2))
    clock.now_ns = int(TICKET_LIFETIME_S * 1e9) - 1
    tickets.redeem(first)
    clock.now_ns += 1
    with pytest.raises(InvalidTicket):
        tickets.redeem(second)
    assert len(tickets) == 0


def test_subject_with_too_many_tickets_loses_its_oldest() -> None:
    tickets = Tickets(Clock())
    other = tickets.issue("eve", CREDENTIAL, REQUEST)
    own = [tickets.issue("ada", CREDENTIAL, REQUEST) for _ in range(MAX_TICKETS_PER_SUBJECT + 1)]
    with pytest.raises(InvalidTicket):
        tickets.redeem(own[0])
    assert [tickets.redeem(value).subject for value in (other, *own[1:])] == ["eve"] + ["ada"] * (len(own) - 1)


def test_number_of_all_tickets_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidings.access.tickets.MAX_TICKETS", 10)
    assert MAX_TICKETS >= 10
    tickets = Tickets(Clock())
    for number in range(50):
        tickets.issue(f"subject-{number}", CREDENTIAL, REQUEST)
    assert len(tickets) == 10
