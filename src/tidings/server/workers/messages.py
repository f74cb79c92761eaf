"""The messages between the parent and a worker: JSON, one per line, over a pair of sockets."""

import asyncio

import msgspec
from msgspec import Raw, Struct


class WorkerRole(Struct, frozen=True, tag="role"):
    """Parent to worker, first: what the worker is."""

    worker: int
    """Its number, from 1."""
    workers: int
    epoch: str
    """See `ReplicatedLog`."""
    listeners: list[int]
    """Descriptors of the sockets that it accepts from."""
    admin_listeners: list[int] = []
    """Descriptors of those of the admin listener."""


class WorkerListening(Struct, frozen=True, tag="listening"):
    """Worker to parent: its settings are valid, and it listens; its log may still be opening."""


class WorkerReady(Struct, frozen=True, tag="ready"):
    """Worker to parent: its log is open."""

    position: str
    """Position of the newest event."""
    notice: str = ""
    """Text for the person at the terminal, such as the first key."""


class WorkerAlive(Struct, frozen=True, tag="alive"):
    """Worker to parent, every second: its event loop runs."""


class WorkerQuestion(Struct, frozen=True, tag="question"):
    """Worker to parent, and from there to all other workers: a question about their state."""

    id: int
    """Chosen by the sender."""
    about: str
    body: Raw = Raw(b"null")


class WorkerAnswer(Struct, frozen=True, tag="answer"):
    """Worker to parent: the answer to a question."""

    id: int
    body: Raw


class WorkerAnswers(Struct, frozen=True, tag="answers"):
    """Parent to worker: the answers of all other workers that answered in time, by their numbers."""

    id: int
    bodies: dict[str, Raw]


class WorkerNote(Struct, frozen=True, tag="note"):
    """Worker to parent, and from there to all workers in one order, the sender included: news."""

    about: str
    body: Raw
    number: int = 0
    """Its number among all notes about the same, from 1; given by the parent."""


ToParent = WorkerListening | WorkerReady | WorkerAlive | WorkerQuestion | WorkerAnswer | WorkerNote
ToWorker = WorkerRole | WorkerQuestion | WorkerAnswers | WorkerNote

_encoder = msgspec.json.Encoder()
_from_worker = msgspec.json.Decoder(ToParent)
_from_parent = msgspec.json.Decoder(ToWorker)
MAX_LINE_BYTES = 64 << 20
"""Size of one message. The largest are metrics: a hub may count thousands of names of operations."""


def write(writer: asyncio.StreamWriter | None, message: ToParent | ToWorker) -> None:
    """Send a message, unless the other side is not there or has ended."""
    if writer is not None and not writer.is_closing():
        writer.write(_encoder.encode(message) + b"\n")


def decode_from_worker(line: bytes) -> ToParent:
    """Return the message in a line that a worker sent.

    Raises:
        msgspec.MsgspecError: It is not one.
    """
    return _from_worker.decode(line)


def decode_from_parent(line: bytes) -> ToWorker:
    """Return the message in a line that the parent sent.

    Raises:
        msgspec.MsgspecError: It is not one.
    """
    return _from_parent.decode(line)
