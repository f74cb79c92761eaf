"""Cancel requests for operations that a producer has started and released, as it does with those queued for others."""

from collections.abc import Iterator

import msgspec
import pytest
from tests.client.hub_server import QUIET, TIMEOUT_S, HubServer

from tidings.client import sync
from tidings.producer.outbox.outbox import Outbox
from tidings.protocol.messages import CancelAnswer, CancelPush


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer(config=msgspec.structs.replace(QUIET, lease_s=1.0)) as server:
        yield server


def queue(outbox: Outbox) -> None:
    outbox.put_nowait("operation:start", {"operation_id": "op-1", "name": "import", "queued": True})
    outbox.release("op-1")
    assert outbox.flush(TIMEOUT_S) == 0


def cancel(hub: HubServer) -> tuple[str, str | None]:
    with sync.connect(hub.url) as client:
        outcome = client.cancel("op-1", reason="a mistake", timeout_s=5.0)
        return outcome.outcome, outcome.reason


def test_queued_operation_is_cancelled_by_the_process_that_queued_it(hub: HubServer) -> None:
    with Outbox(hub.url) as outbox:

        def revoke(push: CancelPush) -> CancelAnswer:
            outbox.put_nowait("operation:cancelled", {"operation_id": push.operation_id, "reason": push.reason})
            return CancelAnswer(verdict="stopping")

        outbox.answer_unclaimed(revoke)
        queue(outbox)
        assert cancel(hub) == ("cancelled", None)


def test_cancel_of_a_queued_operation_without_a_callback_is_refused(hub: HubServer) -> None:
    with Outbox(hub.url) as outbox:
        queue(outbox)
        outcome, reason = cancel(hub)
        assert outcome == "refused"
        assert reason is not None
        assert "no longer runs it" in reason


def test_cancel_of_a_started_operation_goes_to_its_new_holder(hub: HubServer) -> None:
    with Outbox(hub.url) as sender, Outbox(hub.url) as worker:

        def stop(push: CancelPush) -> CancelAnswer:
            worker.put_nowait("operation:cancelled", {"operation_id": push.operation_id, "reason": push.reason})
            return CancelAnswer(verdict="stopping")

        def revoke(push: CancelPush) -> CancelAnswer:
            # Too late: the operation has left the queue.
            worker.put_nowait("operation:start", {"operation_id": push.operation_id})
            return CancelAnswer(verdict="stopping")

        sender.answer_unclaimed(revoke)
        queue(sender)
        worker.hold("op-1", on_cancel=stop)
        assert cancel(hub) == ("cancelled", None)
