"""A worker's end of the connection with its parent."""

import asyncio
import contextlib
import itertools
import socket
from collections.abc import Awaitable, Callable, Mapping

import structlog
from msgspec import Raw

from tidings.exceptions import ServeError
from tidings.server.workers.messages import (
    MAX_LINE_BYTES,
    ToParent,
    WorkerAlive,
    WorkerAnswer,
    WorkerAnswers,
    WorkerListening,
    WorkerNote,
    WorkerQuestion,
    WorkerReady,
    WorkerRole,
    decode_from_parent,
    write,
)

ALIVE_INTERVAL_S = 1.0
ANSWER_TIMEOUT_S = 3.0
"""Time for the answers of other workers: longer than the parent waits for a worker that does not answer."""

log = structlog.get_logger("tidings.server")

Responder = Callable[[bytes], Awaitable[bytes]]
"""Called with the body of a question; returns the answer of this worker. Both are JSON."""
Receiver = Callable[[int, bytes], object]
"""Called with the number and the body of a note, in JSON."""


class WorkerLink:
    """Sends what the parent must know, and asks other workers through it.

    Args:
        opened: The socket that the parent has passed.

    Raises:
        ServeError: The parent has ended.
    """

    def __init__(self, opened: socket.socket) -> None:
        self.role = _read_role(opened)
        self.responders: dict[str, Responder] = {}
        """The functions that answer questions, by the subject of the question."""
        self.receivers: dict[str, Receiver] = {}
        """The functions that are called with notes, by the subject of the note; the own notes come back, too."""
        self._socket = opened
        self._writer: asyncio.StreamWriter | None = None
        self._ids = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Mapping[str, Raw]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, parent_gone: Callable[[], object]) -> None:
        """Begin to exchange messages on the running loop; `parent_gone` is called when the parent has ended."""
        self._socket.setblocking(False)
        reader, self._writer = await asyncio.open_connection(sock=self._socket, limit=MAX_LINE_BYTES)
        self._keep(self._read(reader, parent_gone))
        self._keep(self._stay_alive())

    def report_listening(self) -> None:
        """Send that this worker listens."""
        self._send(WorkerListening())

    def report_ready(self, position: str, notice: str = "") -> None:
        """Send that the log of this worker is open; see `Ready`."""
        self._send(WorkerReady(position, notice))

    @property
    def source(self) -> str:
        """The name of this worker."""
        return name_of(str(self.role.worker))

    def tell(self, about: str, body: bytes) -> None:
        """Send a note to all workers; see `receivers`."""
        self._send(WorkerNote(about, Raw(body)))

    async def ask(self, about: str, body: bytes = b"null") -> Mapping[str, Raw]:
        """Return the answers of all other workers that answer in time, by the names of the workers."""
        id = next(self._ids)
        answers: asyncio.Future[Mapping[str, Raw]] = asyncio.get_running_loop().create_future()
        self._asked[id] = answers
        try:
            self._send(WorkerQuestion(id, about, Raw(body)))
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return {name_of(number): body for number, body in (await answers).items()}
        except TimeoutError:
            return {}
        finally:
            del self._asked[id]

    async def close(self) -> None:
        """End the exchange."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._writer is not None:
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()

    def _keep(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _send(self, message: ToParent) -> None:
        write(self._writer, message)

    async def _stay_alive(self) -> None:
        while True:
            self._send(WorkerAlive())
            await asyncio.sleep(ALIVE_INTERVAL_S)

    async def _read(self, reader: asyncio.StreamReader, parent_gone: Callable[[], object]) -> None:
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                message = decode_from_parent(line)
                if isinstance(message, WorkerQuestion):
                    self._keep(self._answer(message))
                elif isinstance(message, WorkerAnswers) and (asked := self._asked.get(message.id)) and not asked.done():
                    asked.set_result(message.bodies)
                elif isinstance(message, WorkerNote):
                    self._receive(message)
        parent_gone()

    def _receive(self, note: WorkerNote) -> None:
        receiver = self.receivers.get(note.about)
        if receiver is not None:
            receiver(note.number, bytes(note.body))

    async def _answer(self, question: WorkerQuestion) -> None:
        responder = self.responders.get(question.about)
        if responder is None:
            return
        try:
            self._send(WorkerAnswer(question.id, Raw(await responder(bytes(question.body)))))
        except Exception:  # the others answer without this worker
            log.exception("a question of another worker could not be answered", about=question.about)


def name_of(worker: str) -> str:
    """Return the name of a worker with a number, as metrics and lists show it."""
    return f"worker-{worker}"


def _read_role(opened: socket.socket) -> WorkerRole:
    line = b""
    while not line.endswith(b"\n"):  # byte by byte: the next lines are for the event loop
        data = opened.recv(1)
        if not data:
            raise ServeError("the parent of this worker has ended")
        line += data
    role = decode_from_parent(line)
    assert isinstance(role, WorkerRole)
    return role
