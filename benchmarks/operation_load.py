"""Operations under load, for `benchmarks.kills`: producers with leases, and requests to cancel what they run."""

import asyncio
import itertools
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

import tidings
from tidings.exceptions import TidingsError

LEASE_S = 120.0
"""Longer than any silence of a hub that starts again on a busy machine: no operation may be lost."""
LINES = 5
"""Events of an operation between its start and its end: lines, which the hub keeps, unlike superseded progress."""
PACE_S = 0.02
"""Pause between two of them, so that requests to cancel find running operations."""
CANCEL_S = 60.0
_RETRY_S = 0.1
_ENDS = ("operation:complete", "operation:failed", "operation:cancelled")
OPERATION_TYPES = ("operation:start", "operation:log", *_ENDS)
"""The events of the load."""


@dataclass(slots=True)
class Reported:
    """What the producers and the cancelling client were told."""

    acknowledged: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    """Released for each acknowledgement."""
    accepted: dict[int, tuple[str, str]] = field(default_factory=dict)
    """Type and operation of each acknowledged event, by its offset."""
    repeated: int = 0
    """Acknowledgements of events that were in the log before."""
    cancelled: set[str] = field(default_factory=set)
    """Operations whose cancellation was confirmed."""
    outcomes: dict[str, int] = field(default_factory=dict)
    """Number of outcomes of requests to cancel, by name; errors by their code."""
    faults: list[str] = field(default_factory=list)


class OperationProducer:
    """Runs one operation after the other on one connection after the other.

    Args:
        name: Its producer id.
        url: URL of the hub.
        reported: Where it notes what the hub answers.
    """

    def __init__(self, name: str, url: str, reported: Reported) -> None:
        self._name = name
        self._url = url
        self._reported = reported
        self._ids = itertools.count(1)
        self._events = itertools.count(1)
        self.running = ""
        """The newest operation whose start was acknowledged."""
        self._cancelled = ""
        """The operation whose end was requested last."""
        self._stopping = False

    def stop(self) -> None:
        """Begin no further operation; the one that runs is ended."""
        self._stopping = True

    async def run(self) -> None:
        """Run operations until `stop`."""
        pending: list[tuple[str, str, dict[str, Any]]] = []
        number = itertools.count(1)
        while pending or not self._stopping:
            try:
                async with connect(self._url, subprotocols=[Subprotocol("tidings.v1")]) as connection:
                    await self._attach(connection)
                    while pending or not self._stopping:
                        if not pending:
                            pending = self._plan(f"{self._name}-{next(number)}")
                        await self._publish(connection, *pending[0])
                        self.running = pending.pop(0)[2]["operation_id"]
                        if pending and self._cancelled == self.running:
                            pending = [self._event("operation:cancelled", self.running)]
                        await asyncio.sleep(PACE_S)
            except (OSError, WebSocketException, TimeoutError):
                await asyncio.sleep(random.uniform(0, 2 * _RETRY_S))

    def _plan(self, operation_id: str) -> list[tuple[str, str, dict[str, Any]]]:
        end = random.choice(_ENDS[:2])
        more = {"code": "c", "message": "m", "recoverable": False} if end == "operation:failed" else {}
        return [
            self._event("operation:start", operation_id, name="kills"),
            *(self._event("operation:log", operation_id, message=f"line {number}") for number in range(LINES)),
            self._event(end, operation_id, **more),
        ]

    def _event(self, type: str, operation_id: str, **data: Any) -> tuple[str, str, dict[str, Any]]:
        return type, f"{self._name}-{next(self._events):012}", {"operation_id": operation_id, **data}

    async def _attach(self, connection: ClientConnection) -> None:
        claims = [{"operation_id": self.running}] if self.running else []
        answer = await self._ask(
            connection, "producer:attach", {"producer_id": self._name, "lease_s": LEASE_S, "operations": claims}
        )
        for verdict in answer.get("operations", ()):
            if verdict["verdict"] == "lost":
                self._reported.faults.append(f"{self._name}: {verdict} although its lease did not end")

    async def _publish(self, connection: ClientConnection, type: str, event_id: str, data: dict[str, Any]) -> None:
        while True:
            answer = await self._ask(connection, type, data, event_id=event_id)
            if "position" in answer:
                break
            if not answer["recoverable"]:
                self._reported.faults.append(f"{type} of {data['operation_id']} was rejected: {answer}")
                break
            await asyncio.sleep(_RETRY_S)
        if "position" in answer:
            offset = int(answer["position"].rpartition(":")[2])
            self._reported.repeated += bool(answer.get("duplicate"))
            self._reported.acknowledged.release()
            known = self._reported.accepted.setdefault(offset, (type, data["operation_id"]))
            if known != (type, data["operation_id"]):
                self._reported.faults.append(f"{type} of {data['operation_id']} and {known} were both at {offset}")

    async def _ask(self, connection: ClientConnection, type: str, data: Any, **more: str) -> dict[str, Any]:
        """Send a message, and return the data of its answer; requests to cancel are answered meanwhile."""
        id = str(next(self._ids))
        await connection.send(json.dumps({"type": type, "id": id, "data": data, **more}))
        while True:
            message = json.loads(await connection.recv())
            if message["type"] == "operation:cancel":
                self._cancelled = message["data"]["operation_id"]
                answer = {"type": "operation:cancel_answer", "reply_to": message["id"], "data": {"verdict": "stopping"}}
                await connection.send(json.dumps(answer))
            elif message.get("reply_to") == id:
                return dict(message["data"])


async def cancel_again_and_again(url: str, producer: OperationProducer, reported: Reported) -> None:
    """Request the end of operations of a producer, each on a new connection, at any of the workers."""
    while True:
        await asyncio.sleep(random.uniform(0, 2 * LINES * PACE_S))
        operation_id = producer.running
        if not operation_id:
            continue
        async with tidings.connect(url, wait_for_hub=True) as client:
            try:
                outcome = str((await client.cancel(operation_id, timeout_s=CANCEL_S)).outcome)
            except TidingsError as error:
                outcome = error.code
            reported.outcomes[outcome] = reported.outcomes.get(outcome, 0) + 1
            if outcome == "cancelled":
                reported.cancelled.add(operation_id)


def find_operation_faults(rows: Sequence[tuple[int, str, str]], reported: Reported) -> list[str]:
    """Compare a log with what the producers were told; return the differences.

    Args:
        rows: Offset, type and operation of the events of operations, in order.
        reported: What they were told.
    """
    faults = list(reported.faults)
    at = {offset: (type, operation_id) for offset, type, operation_id in rows}
    for offset, known in reported.accepted.items():
        if at.get(offset) != known:
            faults.append(f"{known} was acknowledged at {offset}, where {at.get(offset)} is")
    ends: dict[str, list[str]] = {}
    counts: dict[str, int] = {}
    for _, type, operation_id in rows:
        if type in _ENDS:
            ends.setdefault(operation_id, []).append(type)
        else:
            counts[operation_id] = counts.get(operation_id, 0) + 1
            if operation_id in ends:
                faults.append(f"{operation_id}: {type} follows its end")
    for operation_id, count in counts.items():
        found = ends.get(operation_id, [])
        if len(found) != 1:
            faults.append(f"{operation_id} has the ends {found}")
        if count > 1 + LINES:
            faults.append(f"{operation_id}: events are stored twice")
        if operation_id in reported.cancelled and found != ["operation:cancelled"]:
            faults.append(f"{operation_id} was cancelled by its outcome, and has the ends {found}")
    return faults
