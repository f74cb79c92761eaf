"""Sending what dead producers left: under their own names, so that the hub knows what it has already."""

import asyncio
import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Raw, Struct

from tidings.client.drafts import Draft
from tidings.client.options import LinkOptions
from tidings.client.publisher import Publisher
from tidings.contract.contract import Contract
from tidings.exceptions import CommandRefused, TidingsError
from tidings.producer.spool.directory import SpoolOptions, files_for, folders, sweep
from tidings.producer.spool.file import Kept, SpoolFile, SpoolHeader
from tidings.protocol.message_types import MessageType
from tidings.protocol.messages import Attached, CancelAnswer, CancelPush, Claim
from tidings.protocol.payloads import encode_payload

logger = logging.getLogger(__name__)

_Result = tuple[str, str | TidingsError]
"""What became of an event, by its id: `sent`, `known`, `refused`, or why it is still to be sent."""


class Adopted(Struct, frozen=True, kw_only=True):
    """What became of one dead producer's events."""

    producer_id: str
    pid: int
    sent: int
    """Events that were put into the hub's log."""
    known: int
    """Events that were in it already."""
    refused: int
    """Events that the hub will not have: their operations have ended otherwise, or are others' now."""
    left: int
    """Events that are still to be sent."""
    error: TidingsError | None = None
    """Why some are left."""


class _OrphanHolder:
    """Holds a dead producer's operations for as long as it takes to send their ends."""

    lease_s = None

    def __init__(self, header: SpoolHeader, kept: Sequence[Kept]) -> None:
        self.producer_id = header.producer_id
        self.again: list[Kept] = []
        """Ends that the hub has given up waiting for, as the next attempt's."""
        self._ends = {key: one for one in kept if (key := _operation(one.draft)) is not None}

    def claims(self) -> Sequence[Claim]:
        return [Claim(operation_id=key, attempt=one.attempt) for key, one in self._ends.items()]

    def new_claims(self) -> Sequence[Claim]:
        return ()

    def attached(self, attached: Attached) -> None:
        for verdict in attached.operations:
            end = self._ends.get(verdict.operation_id)
            if verdict.verdict != "lost" or end is None or end.again is None:
                continue
            # Where a newer attempt was begun, by whomever, this end is of no interest any more.
            if verdict.attempt is not None and verdict.attempt == end.attempt:
                self.again.append(end)

    def attach_refused(self, error: TidingsError) -> None:
        logger.info("a dead producer's events are sent without its name: %s", error)

    def cancel(self, push: CancelPush) -> CancelAnswer | None:
        return None  # its end is on its way


async def adopt(file: SpoolFile, options: LinkOptions, contract: Contract, *, url: str, timeout_s: float) -> Adopted:
    """Send what is in a dead producer's file, and take from it what the hub has, or will not have.

    Args:
        file: The file, open.
        options: How to connect.
        contract: What event types are known here.
        url: Where the hub is.
        timeout_s: How long it may take.
    """
    kept = list(file.pending.values())
    heir = _OrphanHolder(file.header, kept)
    publisher = Publisher(url, options, contract=contract, holder=heir)
    counts = {"sent": 0, "known": 0, "refused": 0}
    error: TidingsError | None = None
    try:
        async with publisher.link.timeout(timeout_s):
            await publisher.wait_live()
            results = await _send(publisher, _in_order(kept, heir.again))
        for event_id, result in results:
            if isinstance(result, str):
                counts[result] += event_id in file.pending
                file.done(event_id)
            else:
                error = error or result
    except TimeoutError:
        error = publisher.link.status.error
    except TidingsError as failed:
        error = failed
    finally:
        await publisher.aclose()
    return Adopted(
        producer_id=file.header.producer_id, pid=file.header.pid, left=len(file.pending), error=error, **counts
    )


async def recover_all(
    url: str, options: LinkOptions, contract: Contract, spool: SpoolOptions, *, timeout_s: float
) -> list[Adopted]:
    """Send what all dead producers left for the hub at `url`; never raises OSError.

    Files that another process is at, its own or somebody else's, are passed over.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    done: list[Adopted] = []
    choices = folders(spool, os.environ)
    for path in files_for(url, choices):
        if loop.time() > deadline:
            break
        try:
            file = SpoolFile.open_dead(path)
            if file is None:
                continue
            try:
                if file.header.url == url and file.pending:
                    done.append(
                        await adopt(file, options, contract, url=url, timeout_s=max(0.0, deadline - loop.time()))
                    )
            finally:
                file.close()
        except OSError as error:
            logger.info("%s is passed over: %s", path, error)
        if done and done[-1].error is not None:
            break  # what keeps these from the hub keeps the others, too
    return done


def left_behind(url: str, spool: SpoolOptions) -> int:
    """Return how many events dead producers have left for the hub at `url`."""
    return sum(_count(path, url) for path in files_for(url, folders(spool, os.environ)))


def clear_away(spool: SpoolOptions) -> int:
    """Delete what is too old or too much; return how many producers' events were dropped with it."""
    return sweep(spool, folders(spool, os.environ))


def _count(path: Path, url: str) -> int:
    try:
        file = SpoolFile.open_dead(path)
        if file is None:
            return 0
        try:
            return len(file.pending) if file.header.url == url else 0
        finally:
            file.close()
    except OSError:
        return 0


async def _send(publisher: Publisher, drafts: Sequence[Draft]) -> list[_Result]:
    """Publish `drafts`, all operations at once and each one's events one after the other; return what became of each.

    An end that went out beside its start might be stored where the start is not: the start would begin another attempt
    when it comes, and nothing would end that.
    """
    groups: dict[str | None, list[Draft]] = {}
    for draft in drafts:
        groups.setdefault(_operation(draft), []).append(draft)
    tasks = [asyncio.ensure_future(_send_in_turn(publisher, group)) for group in groups.values()]
    try:
        await asyncio.wait(tasks)
    finally:
        for task in tasks:
            task.cancel()
    return [result for task in tasks for result in task.result()]


async def _send_in_turn(publisher: Publisher, drafts: Sequence[Draft]) -> list[_Result]:
    """Publish `drafts`, each when the one before it has its answer, up to the first that may come later."""
    results: list[_Result] = []
    for draft in drafts:
        try:
            accepted = await publisher.publish(draft, timeout_s=None)
        except TidingsError as error:
            if not isinstance(error, CommandRefused) or error.recoverable:
                return [*results, (draft.event_id, error)]
            logger.info("%s of a dead producer is refused: %s", draft.type, error)
            results.append((draft.event_id, "refused"))
        else:
            results.append((draft.event_id, "known" if accepted.duplicate else "sent"))
    return results


def _in_order(kept: Sequence[Kept], again: Sequence[Kept]) -> list[Draft]:
    """Return what is to be sent: before an end that comes too late, the start of an attempt that it can end."""
    drafts: list[Draft] = []
    for one in kept:
        if one in again:
            drafts.append(_next_attempt(one))
        drafts.append(one.draft)
    return drafts


def _next_attempt(end: Kept) -> Draft:
    assert end.again is not None
    # The same whoever sends it, and however often: it is stored once.
    event_id = hashlib.sha256(f"again {end.draft.event_id}".encode()).hexdigest()[:32]
    return msgspec.structs.replace(
        end.draft, type=MessageType.OPERATION_START.value, data=Raw(encode_payload(end.again)), event_id=event_id
    )


def _operation(draft: Draft) -> str | None:
    if not draft.type.startswith("operation:"):
        return None
    try:
        return msgspec.json.decode(draft.data, type=_Named).operation_id
    except msgspec.DecodeError:
        return None


class _Named(Struct, frozen=True):
    operation_id: str | None = None
