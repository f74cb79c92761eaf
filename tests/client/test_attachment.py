from tidings.client.attachment import MAX_CLAIMS, Attachment
from tidings.protocol.messages import Claim


def claims(count: int) -> list[Claim]:
    return [Claim(operation_id=f"op-{number}") for number in range(count)]


def test_a_connection_opens_with_an_attach_even_where_nothing_is_claimed() -> None:
    attachment = Attachment("p", 5.0, list)
    ((id, attach),) = attachment.begin()
    assert (attach.producer_id, attach.lease_s, attach.operations) == ("p", 5.0, [])
    assert not attachment.complete
    assert attachment.settle(id, refused=False)
    assert attachment.complete
    assert not attachment.settle(id, refused=False), "an answer is one answer"


def test_many_claims_are_several_commands() -> None:
    attachment = Attachment("p", None, lambda: claims(MAX_CLAIMS + 1))
    (first, some), (second, rest) = attachment.begin()
    assert [len(attach.operations) for attach in (some, rest)] == [MAX_CLAIMS, 1]
    attachment.settle(second, refused=False)
    assert not attachment.complete
    attachment.settle(first, refused=False)
    assert attachment.complete


def test_claims_are_those_of_the_moment() -> None:
    present = claims(1)
    attachment = Attachment("p", None, lambda: present)
    attachment.begin()
    present = claims(2)
    ((_, attach),) = attachment.begin()
    assert len(attach.operations) == 2


def test_a_hub_that_refused_is_asked_no_more_on_that_connection() -> None:
    attachment = Attachment("p", None, list)
    ((id, _),) = attachment.begin()
    attachment.settle(id, refused=True)
    assert attachment.claim(claims(1)) == []
    attachment.begin()
    assert len(attachment.claim(claims(1))) == 1


def test_to_claim_nothing_is_no_command() -> None:
    attachment = Attachment("p", None, list)
    attachment.begin()
    assert attachment.claim([]) == []


def test_what_a_lost_connection_left_unanswered_is_not_waited_for() -> None:
    attachment = Attachment("p", None, list)
    ((old, _),) = attachment.begin()
    ((new, _),) = attachment.begin()
    assert not attachment.settle(old, refused=False)
    attachment.settle(new, refused=False)
    assert attachment.complete
