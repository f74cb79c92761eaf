"""The producer's half of a session: attaching, claims, and cancel requests."""

from collections.abc import Sequence
from typing import Any

import msgspec
from tests.client.model_hub import established, message

from tidings.client.attachment import Attachment
from tidings.client.events import AttachRefused, CancelAsked, Delivery, Settled
from tidings.client.session import Session
from tidings.client.status import State
from tidings.contract.contract import Contract
from tidings.exceptions import CommandRefused, OperationUnknown
from tidings.protocol.messages import Attached, Cancel, CancelAnswer, CancelOutcome, CancelPush, Claim, Verdict

PUSH = {"operation_id": "op-1", "attempt": 1, "reason": "too slow"}
OUTCOME = {"operation_id": "op-1", "attempt": 1, "outcome": "cancelled", "state": "cancelled"}


class Producer:
    """A session that attaches, and what it sends."""

    def __init__(self) -> None:
        self.claims = [Claim(operation_id="op-1", attempt=1)]
        self.session = Session(Contract(), attachment=Attachment("p", 5.0, lambda: self.claims))

    def greet(self, now: float = 0.0) -> list[dict[str, Any]]:
        self.session.opened(now)
        self.session.received(established(), now)
        return self.sent()

    def sent(self) -> list[dict[str, Any]]:
        messages = []
        while (body := self.session.take_outgoing()) is not None:
            messages.append(msgspec.json.decode(body))
        return messages

    def attached(self, id: str, *verdicts: dict[str, Any]) -> Sequence[Delivery]:
        answer = {"producer_id": "p", "lease_s": 5.0, "operations": verdicts}
        return self.session.received(message("producer:attached", answer, reply_to=id), 0.0)

    def refused(self, id: str, code: str) -> Sequence[Delivery]:
        error = {"code": code, "message": "no", "recoverable": False}
        return self.session.received(message("connection:error", error, reply_to=id), 0.0)


class TestAttaching:
    def test_attach_comes_first_and_publishing_waits_for_the_verdicts(self) -> None:
        producer = Producer()
        assert not producer.session.ready
        (attach,) = producer.greet()
        assert attach["type"] == "producer:attach"
        claim = {"operation_id": "op-1", "attempt": 1}
        assert attach["data"] == {"producer_id": "p", "operations": [claim], "lease_s": 5.0}
        assert producer.session.state(0.0) is State.CONNECTING
        assert not producer.session.ready
        verdict = {"operation_id": "op-1", "attempt": 1, "verdict": "held"}
        (attached,) = producer.attached(attach["id"], verdict)
        verdicts = [Verdict(operation_id="op-1", attempt=1, verdict="held")]
        assert attached == Attached(producer_id="p", lease_s=5.0, operations=verdicts)
        assert producer.session.state(0.0) is State.LIVE
        assert producer.session.ready

    def test_attach_is_sent_on_every_connection_with_current_claims(self) -> None:
        producer = Producer()
        (first,) = producer.greet()
        producer.attached(first["id"])
        producer.session.lost(1006, "")
        producer.claims = []
        (second,) = producer.greet()
        assert second["data"].get("operations", []) == []
        assert second["id"] != first["id"]
        assert producer.attached(first["id"]) == (), "answers on the last connection do not count on this one"

    def test_publishing_works_with_a_hub_that_refuses_to_attach(self) -> None:
        producer = Producer()
        (attach,) = producer.greet()
        (refused,) = producer.refused(attach["id"], "not_supported")
        assert isinstance(refused, AttachRefused)
        assert isinstance(refused.error, CommandRefused)
        assert producer.session.ready
        producer.session.claim([Claim(operation_id="op-2")])
        assert producer.sent() == []

    def test_later_claims_are_sent_on_the_same_connection(self) -> None:
        producer = Producer()
        producer.session.claim([Claim(operation_id="op-2")])
        (attach,) = producer.greet()
        producer.session.claim([Claim(operation_id="op-2")])
        assert producer.sent() == [], "attaching reads the claims itself"
        producer.attached(attach["id"])
        producer.session.claim([Claim(operation_id="op-2", lease_s=60)])
        (more,) = producer.sent()
        assert more["data"]["operations"] == [{"operation_id": "op-2", "lease_s": 60.0}]
        (attached,) = producer.attached(more["id"], {"operation_id": "op-2", "verdict": "lost"})
        assert isinstance(attached, Attached)
        assert producer.session.state(0.0) is State.LIVE


class TestBeingCancelled:
    def test_cancel_push_is_delivered_and_its_answer_names_it(self) -> None:
        producer = Producer()
        (attach,) = producer.greet()
        producer.attached(attach["id"])
        push = msgspec.json.decode(message("operation:cancel", PUSH)) | {"id": "push-1"}
        (asked,) = producer.session.received(msgspec.json.encode(push), 0.0)
        assert asked == CancelAsked("push-1", CancelPush(operation_id="op-1", attempt=1, reason="too slow"))
        producer.session.answer_cancel("push-1", CancelAnswer(verdict="stopping"))
        assert producer.sent() == [
            {
                "type": "operation:cancel_answer",
                "data": {"verdict": "stopping"},
                "id": "answer",
                "reply_to": "push-1",
            }
        ]
        error = {"code": "invalid_command", "message": "the reason is too long", "recoverable": False}
        refusal = message("connection:error", error, reply_to="answer")
        assert producer.session.received(refusal, 0.0) == (), "it concerns no event"

    def test_cancel_answer_is_not_sent_after_the_connection_is_lost(self) -> None:
        producer = Producer()
        producer.greet()
        producer.session.lost(1006, "")
        producer.session.answer_cancel("push-1", CancelAnswer(verdict="stopping"))
        assert producer.sent() == []


class TestCancelling:
    WISH = Cancel(operation_id="op-1", timeout_s=10.0)

    def live(self) -> Session:
        session = Session(Contract())
        session.opened(0.0)
        session.received(established(), 0.0)
        return session

    def sent(self, session: Session) -> list[dict[str, Any]]:
        messages = []
        while (body := session.take_outgoing()) is not None:
            messages.append(msgspec.json.decode(body))
        return messages

    def test_cancel_outcome_settles_its_request_once(self) -> None:
        session = self.live()
        id = session.cancel(self.WISH, 0.0)
        (asked,) = self.sent(session)
        assert (asked["type"], asked["id"], asked["data"]["operation_id"]) == ("operation:cancel", id, "op-1")
        outcome = message("operation:cancel_outcome", OUTCOME, reply_to=id)
        (settled,) = session.received(outcome, 1.0)
        assert isinstance(settled, Settled)
        assert isinstance(settled.result, CancelOutcome)
        assert settled.id == id
        assert session.received(outcome, 1.0) == ()

    def test_cancel_is_sent_again_after_a_reconnect_with_the_time_left(self) -> None:
        session = self.live()
        id = session.cancel(self.WISH, 0.0)
        self.sent(session)
        session.lost(1006, "")
        session.opened(4.0)
        session.received(established(), 4.0)
        (again,) = self.sent(session)
        assert (again["id"], again["data"]["timeout_s"]) == (id, 6.0)

    def test_cancel_without_a_connection_is_sent_on_the_next_one(self) -> None:
        session = Session(Contract())
        session.cancel(self.WISH, 0.0)
        assert self.sent(session) == []
        session.opened(1.0)
        session.received(established(), 1.0)
        assert [asked["type"] for asked in self.sent(session)] == ["operation:cancel"]

    def test_cancel_refusal_becomes_a_specific_exception(self) -> None:
        session = self.live()
        id = session.cancel(self.WISH, 0.0)
        error = {"code": "operation_unknown", "message": "no such operation", "recoverable": False}
        (settled,) = session.received(message("connection:error", error, reply_to=id), 0.0)
        assert isinstance(settled, Settled)
        assert isinstance(settled.result, OperationUnknown)

    def test_cancel_stays_pending_when_the_hub_drains(self) -> None:
        session = self.live()
        id = session.cancel(self.WISH, 0.0)
        error = {"code": "draining", "message": "later", "recoverable": True}
        assert session.received(message("connection:error", error, reply_to=id), 0.0) == ()
        assert len(session.cancellations) == 1
