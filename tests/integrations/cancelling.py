"""A client that cancels the operation of a loop in this process while it runs."""

import threading
import time
from typing import Self

from tests.client.hub_server import TIMEOUT_S
from tests.producer.reported import Reported, until

from tidings.client import sync


class Canceller:
    """Cancels an operation when its loop reaches a step.

    Args:
        reported: Hub of the operation.
        operation_id: Id of the operation.
        at_step: Index of the step.
    """

    def __init__(self, reported: Reported, operation_id: str, *, at_step: int) -> None:
        self._reported = reported
        self._id = operation_id
        self._at_step = at_step
        self._reached = threading.Event()
        self._thread = threading.Thread(target=self._cancel)
        self.outcome = ""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._reached.set()
        self._thread.join(TIMEOUT_S)
        assert not self._thread.is_alive()

    def step(self, index: int) -> None:
        """Do the work of a step; call it from the loop."""
        if index >= self._at_step:
            self._reached.set()
            time.sleep(0.005)  # the work of a step, during which the request arrives

    def _cancel(self) -> None:
        assert self._reached.wait(TIMEOUT_S)
        hub = self._reported.hub
        until(lambda: hub.call(lambda: hub.app.hub.operations.get(self._id)) is not None)
        with sync.connect(hub.url) as client:
            self.outcome = client.cancel(self._id, reason="enough", timeout_s=TIMEOUT_S).outcome
