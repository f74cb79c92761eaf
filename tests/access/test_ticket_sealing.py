import pytest

from tidings.access.subjects import AccessRequest, Credential
from tidings.access.ticket_sealing import is_proven, name_of_ticket, open_sealed, prove_ticket, seal
from tidings.access.tickets import Tickets

REQUEST = AccessRequest(headers={}, address="127.0.0.1", method="POST", path="/v1/tickets")


def issue(tickets: Tickets) -> str:
    return tickets.issue("ada", Credential("a secret", "header"), REQUEST)


def test_sealed_content_is_opened_with_its_ticket_alone() -> None:
    tickets = Tickets(lambda: 0.0)
    first, second = issue(tickets), issue(tickets)
    sealed = seal(first, b"the credential")
    assert b"the credential" not in sealed
    assert open_sealed(first, sealed) == b"the credential"
    for value, content in ((second, sealed), (first, sealed[:-1] + bytes([sealed[-1] ^ 1]))):
        with pytest.raises(ValueError, match="another ticket"):
            open_sealed(value, content)


def test_proof_is_that_of_one_ticket_and_says_nothing_of_it() -> None:
    tickets = Tickets(lambda: 0.0)
    first, second = issue(tickets), issue(tickets)
    assert is_proven(first, prove_ticket(first))
    assert not is_proven(second, prove_ticket(first))
    assert first[len(name_of_ticket(first)) :] not in prove_ticket(first)


def test_ticket_is_found_by_its_name_alone() -> None:
    tickets = Tickets(lambda: 0.0)
    first, second = issue(tickets), issue(tickets)
    assert tickets.find(name_of_ticket(second)) == second
    assert len(name_of_ticket(first)) < len(first) / 2
    tickets.take(second)
    assert tickets.find(name_of_ticket(second)) is None
