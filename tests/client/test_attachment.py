from tidings.client.attachment import MAX_CLAIMS, Attachment
from tidings.protocol.messages import Claim


def claims(count: int) -> list[Claim]:
    return [Claim(operation_id=f"op-{number}") for number in range(count)]


def test_attach_is_sent_even_without_claims() -> None:
    attachment = Attachment("p", 5.0, list)
    ((id, attach),) = attachment.begin()
    assert (attach.producer_id, attach.lease_s, attach.operations) == ("p", 5.0, [])
    assert not attachment.complete
    assert attachment.settle(id, refused=False)
    assert attachment.complete
    assert not attachment.settle(id, refused=False), "an answer is one answer"


def test_many_claims_are_sent_in_several_commands() -> None:
    attachment = Attachment("p", None, lambda: claims(MAX_CLAIMS + 1))
    (first, some), (second, rest) = attachment.begin()
    assert [len(attach.operations) for attach in (some, rest)] == [MAX_CLAIMS, 1]
    attachment.settle(second, refused=False)
    assert not attachment.complete
    attachment.settle(first, refused=False)
    assert attachment.complete


def test_claims_are_read_for_each_connection() -> None:
    present = claims(1)
    attachment = Attachment("p", None, lambda: present)
    attachment.begin()
    present = claims(2)
    ((_, attach),) = attachment.begin()
    assert len(attach.operations) == 2


def test_refused_attach_is_not_repeated_on_that_connection() -> None:
    attachment = Attachment("p", None, list)
    ((id, _),) = attachment.begin()
    attachment.settle(id, refused=True)
    assert attachment.claim(claims(1)) == []
    attachment.begin()
    assert len(attachment.claim(claims(1))) == 1


def test_empty_claims_send_no_command() -> None:
    attachment = Attachment("p", None, list)
    attachment.begin()
    assert attachment.claim([]) == []


def test_lost_connection_clears_unanswered_commands() -> None:
    attachment = Attachment("p", None, list)
    ((old, _),) = attachment.begin()
    ((new, _),) = attachment.begin()
    assert not attachment.settle(old, refused=False)
    attachment.settle(new, refused=False)
    assert attachment.complete
