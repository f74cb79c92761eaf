"""A model of the outbox's connection: whatever the hub does, no event that could be sent is left waiting.

The hub, the network and the clock are played by hypothesis; the loop runs until nothing is ready to run.
"""

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.client.model_hub import established, message
from tests.producer.drafts import draft

from tidings.client.options import LinkOptions
from tidings.client.publish_queue import QueueLimits, Rank, WindowLimits
from tidings.client.runtime import add_route, remove_route
from tidings.client.status import State
from tidings.client.websocket import ConnectionEnded
from tidings.contract.contract import Contract
from tidings.exceptions import HubUnreachable
from tidings.producer.outbox.holder import OutboxHolder
from tidings.producer.outbox.pending import PendingEvents
from tidings.producer.outbox.sender import Sender
from tidings.protocol.payloads import OperationStartData

URL = "ws://model.invalid:1/ws"
KEYS = st.sampled_from(["a", "b"])
KINDS = {
    "start": Rank.LIFECYCLE,
    "log": Rank.LOG,
    "progress": Rank.LATEST,
    "complete": Rank.LIFECYCLE,
}
HOUR_S = 3_600.0


class ModelTimer:
    """A call at a time of the model's clock."""

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


class ModelConnection:
    """One connection, whose other end is the state machine."""

    def __init__(self) -> None:
        self.toward_client: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.commands: deque[dict[str, Any]] = deque()
        self.open = True

    async def receive(self) -> bytes:
        body = await self.toward_client.get() if self.open or not self.toward_client.empty() else None
        if body is None:
            raise ConnectionEnded(1006, "")
        return body

    async def send(self, body: bytes) -> None:
        if not self.open:
            raise ConnectionEnded(1006, "")
        self.commands.append(msgspec.json.decode(body))

    async def aclose(self) -> None:
        self.abort()

    def abort(self) -> None:
        self.open = False
        self.toward_client.put_nowait(None)


class ModelRuntime:
    """The network and the clock of the link."""

    def __init__(self) -> None:
        self.now = 0.0
        self.numbers = itertools.count()
        self.up = False
        self.connections: list[ModelConnection] = []
        self.timers: list[tuple[float, int, ModelTimer]] = []

    async def open(self, url: str, token: str | None, /) -> ModelConnection:
        if not self.up:
            raise HubUnreachable("the hub is away")
        self.connections.append(ModelConnection())
        return self.connections[-1]

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], object], /) -> ModelTimer:
        timer = ModelTimer(callback)
        heapq.heappush(self.timers, (when, next(self.numbers), timer))
        return timer

    def timeout(self, delay_s: float | None, /) -> AbstractAsyncContextManager[object]:
        return nullcontext()

    async def sleep(self, delay_s: float, /) -> None:
        woken = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not woken.done():
                woken.set_result(None)

        self.call_at(self.now + delay_s, wake)
        await woken

    def random(self) -> float:
        return 0.5


class OutboxModel(RuleBasedStateMachine):
    """An outbox and its hub."""

    loop: asyncio.AbstractEventLoop | None = None

    @initialize()
    def open_outbox(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.greeted: list[ModelConnection] = []
        self.runtime = ModelRuntime()
        self.errors: list[Exception] = []
        self.number = 0
        self.pending = PendingEvents(QueueLimits(), window=WindowLimits(events=2))
        holder = OutboxHolder("p-1", None, pending=self.pending, report=self.errors.append)
        self.sender = Sender(
            URL,
            LinkOptions(wait_for_hub=True),
            contract=Contract(),
            holder=holder,
            pending=self.pending,
            spooling=None,
            report=self.errors.append,
        )
        add_route(URL, lambda name: self.runtime)
        self.task = self.loop.create_task(self.sender.run())
        # A server that has never greeted may be something else, and is given up.
        self.runtime.up = True
        self.settle()
        self.hub_greets()

    def settle(self) -> None:
        """Run the loop until nothing is ready, and let the hub greet and attach."""

        async def turns() -> None:
            for _ in range(30):
                await asyncio.sleep(0)

        assert self.loop is not None
        self.loop.run_until_complete(turns())

    def teardown(self) -> None:
        if self.loop is None:
            return
        try:
            self.recover()
        finally:
            self.task.cancel()
            self.loop.run_until_complete(asyncio.wait([self.task]))
            remove_route(URL)
            self.loop.close()

    # The job.

    @rule(kinds=st.lists(st.sampled_from(list(KINDS)), min_size=1, max_size=4), key=KEYS)
    def job_reports_several(self, kinds: list[str], key: str) -> None:
        for kind in kinds:
            self.job_reports(kind, key)
        self.settle()

    @rule(kind=st.sampled_from(list(KINDS)), key=KEYS)
    def job_reports(self, kind: str, key: str) -> None:
        self.number += 1
        start = OperationStartData(operation_id=key) if kind == "start" else None
        event = draft(self.number, f"operation:{kind}", key)
        self.pending.offer(event, KINDS[kind], key, ends=kind == "complete", start=start)
        self.sender.wake()

    @rule(key=KEYS, lease_s=st.sampled_from([None, 60.0]))
    def job_holds(self, key: str, lease_s: float | None) -> None:
        self.pending.hold(key, lease_s=lease_s, trace_id=None, on_cancel=None, on_lost=None)

    @rule(key=KEYS)
    def job_releases(self, key: str) -> None:
        self.pending.release(key)

    @rule()
    def loop_runs(self) -> None:
        self.settle()

    # The network and the clock.

    @property
    def connection(self) -> ModelConnection | None:
        connections = self.runtime.connections
        return connections[-1] if connections and connections[-1].open else None

    @precondition(lambda self: not self.runtime.up)
    @rule()
    def hub_comes(self) -> None:
        self.runtime.up = True

    @rule(back=st.booleans(), really=st.sampled_from([False, False, False, True]))
    def connection_breaks(self, back: bool, really: bool) -> None:
        if not really:
            return
        self.runtime.up = back
        if self.connection is not None:
            self.connection.abort()

    @rule(seconds=st.sampled_from([0.3, 1.1, 20.0]), greets=st.booleans())
    def time_passes(self, seconds: float, greets: bool) -> None:
        self.settle()
        until = self.runtime.now + seconds
        while self.runtime.timers and self.runtime.timers[0][0] <= until:
            when, _, timer = heapq.heappop(self.runtime.timers)
            self.runtime.now = max(self.runtime.now, when)
            if timer.callback is not None:
                timer.callback()
            self.settle()
            if self.connection is not None and self.connection in self.greeted:
                # The hub sends its heartbeats.
                self.connection.toward_client.put_nowait(message("connection:pong", {}))
                self.settle()
        self.runtime.now = until
        if greets and self.connection is not None:
            self.hub_greets()

    # The hub.

    @precondition(lambda self: self.connection is not None)
    @rule()
    def hub_greets(self) -> None:
        connection = self.connection
        assert connection is not None
        if connection not in self.greeted:
            self.greeted.append(connection)
            connection.toward_client.put_nowait(established())
            self.settle()
            if connection.commands and connection.commands[0]["type"] == "producer:attach":
                self.hub_answers("accept", "held", run=True)

    @precondition(lambda self: self.connection is not None and self.connection.commands)
    @rule(
        outcome=st.sampled_from(["accept", "accept", "refuse", "full", "exists", "fenced"]),
        verdict=st.sampled_from(["held", "lost", "finished"]),
        run=st.booleans(),
    )
    def hub_answers(self, outcome: str, verdict: str, run: bool) -> None:
        connection = self.connection
        assert connection is not None
        command = connection.commands.popleft()
        id = command["id"]
        if command["type"] == "connection:ping":
            connection.toward_client.put_nowait(message("connection:pong", {}, reply_to=id))
        elif command["type"] == "producer:attach":
            claimed = command["data"].get("operations", [])
            verdicts = [{"operation_id": one["operation_id"], "attempt": 1, "verdict": verdict} for one in claimed]
            data = {"producer_id": "p-1", "lease_s": 60.0, "operations": verdicts}
            connection.toward_client.put_nowait(message("producer:attached", data, reply_to=id))
        elif outcome == "accept":
            data = {"position": "e:1", "attempt": 1} if command["type"] == "operation:start" else {"position": "e:1"}
            connection.toward_client.put_nowait(message("event:accepted", data, reply_to=id))
        else:
            code, recoverable = {
                "refuse": ("operation_finished", False),
                "full": ("log_full", True),
                "exists": ("operation_exists", False),
                "fenced": ("operation_fenced", False),
            }[outcome]
            data = {"code": code, "message": "no", "recoverable": recoverable}
            connection.toward_client.put_nowait(message("connection:error", data, reply_to=id))
        if run:
            self.settle()

    # What always holds.

    @invariant()
    def sender_runs(self) -> None:
        assert self.loop is None or not self.task.done(), self.errors

    def recover(self) -> None:
        """Let the hub be well: then every event gets its answer, in bounded time."""
        self.runtime.up = True
        for _ in range(40):
            self.time_passes(1.0, greets=True)
            while self.connection is not None and self.connection.commands:
                self.hub_answers("accept", "held", run=True)
        figures = self.pending.statistics()
        publisher = self.sender._publisher
        assert publisher is not None
        assert publisher.link.state is State.LIVE
        assert (figures.waiting, figures.unacknowledged) == (0, 0)


OutboxModel.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestOutboxModel = OutboxModel.TestCase


def test_pause_goes_on_while_events_are_in_flight() -> None:
    """A case that the model seldom meets: the pause after a refusal is over before the next answer comes."""
    model = OutboxModel()
    model.open_outbox()
    model.job_reports_several(["start", "log", "log"], "a")
    model.hub_answers("full", "held", run=True)
    model.time_passes(1.1, greets=False)
    assert model.pending.statistics().unacknowledged == 1
    model.teardown()
