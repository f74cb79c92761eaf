"""Recovers dead producers' events: sends them under the producers' own ids, so that the hub detects duplicates."""

import asyncio
import contextlib
import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from msgspec import Raw, Struct

from tidings.client.drafts import Draft, check_data_limits
from tidings.client.options import LinkOptions
from tidings.client.publisher import Publisher
from tidings.contract.contract import Contract
from tidings.exceptions import (
    CommandRefused,
    ContractError,
    Forbidden,
    HubClosed,
    HubUnreachable,
    OperationExists,
    OperationFenced,
    OperationFinished,
    TidingsError,
)
from tidings.producer.reduction import reduce_end
from tidings.producer.spool.directory import (
    ClosedSpool,
    SpoolOptions,
    delete_expired_files,
    list_closed,
    list_folders,
    list_spool_files,
)
from tidings.producer.spool.file import SpooledEvent, SpoolFile, SpoolHeader
from tidings.producer.spool.rejected import set_aside
from tidings.protocol.envelope import check_body
from tidings.protocol.message_types import MessageType
from tidings.protocol.messages import Accepted, Attached, CancelAnswer, CancelPush, Claim
from tidings.protocol.payloads import encode_payload

logger = logging.getLogger(__name__)

_OVER = frozenset({OperationExists.code, OperationFinished.code, OperationFenced.code})
"""Error codes for events that are obsolete, because their operation has ended or has another holder."""
_OnResult = Callable[[Draft, Accepted | TidingsError], None]
"""Called with each event and its answer, as soon as it has one."""


class RecoveryResult(Struct, frozen=True, kw_only=True):
    """Outcome of the recovery of one dead producer's events."""

    producer_id: str
    pid: int
    sent: int
    """Events stored in the hub's log."""
    known: int
    """Events that were in the log already."""
    refused: int
    """Events that the hub refused: their operations have ended, or have another holder now."""
    rejected: int = 0
    """Events that no hub accepts as they are; they are in `rejected_file`."""
    rejected_file: Path | None = None
    left: int
    """Events that must be sent later."""
    error: TidingsError | None = None
    """Why events are left."""


class SpoolSender(Struct, frozen=True, kw_only=True):
    """The token with which events are to be sent."""

    owner: str
    """See `describe_owner`."""
    subject: str
    """Its subject, as the hub names it; "" for a hub without authentication."""


class _OrphanHolder:
    """Holds a dead producer's operations while their ends are sent."""

    def __init__(self, header: SpoolHeader, kept: Sequence[SpooledEvent]) -> None:
        self.producer_id = header.producer_id
        self.lease_s = header.lease_s
        self.given_up: list[SpooledEvent] = []
        """Ends of attempts that the hub has given up: they need another attempt, which they end."""
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
            # If a newer attempt has begun, this end is obsolete.
            if verdict.attempt is not None and verdict.attempt == end.attempt:
                self.given_up.append(end)

    def attach_refused(self, error: TidingsError) -> None:
        logger.info("a dead producer's events are sent without its id: %s", error)

    def cancel(self, push: CancelPush) -> CancelAnswer | None:
        return None  # its end is on its way


async def recover_file(
    file: SpoolFile, options: LinkOptions, contract: Contract, *, url: str, timeout_s: float
) -> RecoveryResult:
    """Send the events in a dead producer's file, and remove those that have a final answer.

    Args:
        file: The open file.
        options: How to connect.
        contract: Event types known here.
        url: Address of the hub.
        timeout_s: Maximum time.
    """
    kept = list(file.pending.values())
    holder = _OrphanHolder(file.header, kept)
    answers = _Answers(file)
    publisher = Publisher(url, options, contract=contract, holder=holder if file.header.holds else None)
    error: TidingsError | None = None
    try:
        async with publisher.link.timeout(timeout_s):
            await publisher.wait_live()
            await _send(publisher, _in_order(kept, holder.given_up), answers.record)
    except TimeoutError:
        error = publisher.link.status.error
    except TidingsError as failed:
        error = failed
    finally:
        await publisher.aclose()
    return RecoveryResult(
        producer_id=file.header.producer_id,
        pid=file.header.pid,
        left=len(file.pending),
        rejected_file=answers.rejected_file,
        error=answers.error or error,
        **answers.counts,
    )


class _Answers:
    """The answers to the events in one file; each takes its event out of the file.

    Args:
        file: The open file.
    """

    def __init__(self, file: SpoolFile) -> None:
        self.counts = {"sent": 0, "known": 0, "refused": 0, "rejected": 0}
        self.rejected_file: Path | None = None
        self.error: TidingsError | None = None
        """Why an event must be sent later."""
        self._file = file

    def record(self, draft: Draft, answer: Accepted | TidingsError) -> None:
        """Record one answer. A disk that is full does not hold up the events behind it."""
        if isinstance(answer, Accepted):
            self._settle(draft, "known" if answer.duplicate else "sent")
        elif isinstance(answer, CommandRefused) and answer.refusal in _OVER:
            logger.info("%s of a dead producer is refused: %s", draft.type, answer)
            self._settle(draft, "refused")
        elif _is_final(answer):
            try:
                self.rejected_file = set_aside(self._file.path, draft, answer)
            except OSError as error:
                logger.warning("an event that the hub rejects stays in %s: %s", self._file.path, error)
                self.error = self.error or answer
            else:
                self._settle(draft, "rejected")
        else:
            self.error = self.error or answer

    def _settle(self, draft: Draft, outcome: str) -> None:
        self.counts[outcome] += draft.event_id in self._file.pending
        with contextlib.suppress(OSError):  # the hub recognises an event that is sent again
            self._file.done(draft.event_id)


def _is_final(answer: Accepted | TidingsError) -> bool:
    return isinstance(answer, ContractError) or (isinstance(answer, CommandRefused) and not answer.recoverable)


async def recover_all(
    url: str,
    options: LinkOptions,
    contract: Contract,
    spool: SpoolOptions,
    *,
    timeout_s: float,
    sender: SpoolSender | None = None,
    adopt: bool = False,
) -> list[RecoveryResult]:
    """Send the events of all dead producers for the hub at `url`; never raises OSError.

    Files in use are skipped, whether by this process or by another. Events that were written with the token of another
    subject are left where they are.

    Args:
        url: Address of the hub.
        options: How to connect.
        contract: Event types known here.
        spool: Where the files are.
        timeout_s: Maximum time.
        sender: The token that `options` yield; by default the hub is asked.
        adopt: Whether to send the events of other subjects, too, in the name of this one.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    results: list[RecoveryResult] = []
    choices = list_folders(spool, os.environ)
    for path in list_spool_files(url, choices):
        if loop.time() > deadline:
            break
        try:
            file = SpoolFile.open_dead(path)
            if file is None:
                continue
            try:
                if file.header.url != url or not file.pending:
                    continue
                left_s = max(0.0, deadline - loop.time())
                if sender is None and not adopt and (file.header.owner or file.header.subject):
                    sender = await _identify(url, options, contract, timeout_s=left_s)
                if not (adopt or sender is None or file.header.belongs_to(sender.owner, sender.subject)):
                    results.append(_left_alone(file, sender))
                    continue
                results.append(await recover_file(file, options, contract, url=url, timeout_s=left_s))
            except TidingsError as error:
                results.append(_untried(file, error))
            finally:
                file.close()
        except OSError as error:
            logger.info("skipped %s: %s", path, error)
        if results and results[-1].error is not None and not isinstance(results[-1].error, HubClosed | Forbidden):
            break  # the same error would stop the others
    return results


async def _identify(url: str, options: LinkOptions, contract: Contract, *, timeout_s: float) -> SpoolSender:
    """Return the token that `options` yield.

    Raises:
        TidingsError: The hub cannot be asked, or refuses it.
    """
    publisher = Publisher(url, options, contract=contract)
    try:
        async with publisher.link.timeout(timeout_s):
            await publisher.wait_connected()
        access = publisher.link.status.access
        return SpoolSender(owner=publisher.link.credentials.owner, subject="" if access is None else access.subject)
    except TimeoutError:
        raise publisher.link.status.error or HubUnreachable("the hub has not answered in time") from None
    finally:
        await publisher.aclose()


def _left_alone(file: SpoolFile, sender: SpoolSender) -> RecoveryResult:
    owner = file.header.subject or file.header.owner
    error = Forbidden(
        f"the events in {file.path} were written with the token of {owner!r}, and this one is of {sender.subject!r}",
        hint="Run `tidings flush` with that token, or `tidings flush --adopt` to send them as this subject.",
    )
    return _untried(file, error)


def _untried(file: SpoolFile, error: TidingsError) -> RecoveryResult:
    header = file.header
    return RecoveryResult(
        producer_id=header.producer_id, pid=header.pid, sent=0, known=0, refused=0, left=len(file.pending), error=error
    )


def count_left_behind(url: str, spool: SpoolOptions) -> int:
    """Return the number of events of dead producers for the hub at `url`."""
    return sum(_count(path, url) for path in list_spool_files(url, list_folders(spool, os.environ)))


def list_closed_to_us(url: str, spool: SpoolOptions) -> list[ClosedSpool]:
    """Return folders and files with events for the hub at `url` that this user may not send."""
    return list(list_closed(url, list_folders(spool, os.environ)))


def delete_expired(spool: SpoolOptions) -> int:
    """Delete dead producers' files beyond the limits; return the number of those that held events."""
    return delete_expired_files(spool, list_folders(spool, os.environ))


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


async def _send(publisher: Publisher, drafts: Sequence[Draft], on_result: _OnResult) -> None:
    """Publish `drafts`, operations in parallel and the events of each in sequence.

    In sequence, because the log may have room for an end and not for its start: the start, sent later, would begin
    another attempt that nothing ends.
    """
    groups: dict[str | None, list[Draft]] = {}
    for draft in drafts:
        groups.setdefault(_operation(draft), []).append(draft)
    tasks = [asyncio.ensure_future(_send_in_sequence(publisher, group, on_result)) for group in groups.values()]
    try:
        await asyncio.wait(tasks)
    finally:
        for task in tasks:
            task.cancel()
    for task in tasks:
        task.result()


async def _send_in_sequence(publisher: Publisher, drafts: Sequence[Draft], on_result: _OnResult) -> None:
    """Publish `drafts`, each after the answer to the one before, up to the first that must be sent later."""
    for draft in drafts:
        answer = await _publish(publisher, draft)
        if _is_final(answer) and (reduced := reduce_end(draft, _code_of(answer))) is not None:
            # The event itself is set aside, and its operation ends all the same.
            ended = await _publish(publisher, reduced)
            answer = answer if isinstance(ended, Accepted) or _is_final(ended) else ended
        on_result(draft, answer)
        if isinstance(answer, TidingsError) and not _is_final(answer):
            return


async def _publish(publisher: Publisher, draft: Draft) -> Accepted | TidingsError:
    try:
        check_body(b"" + draft.data)
        check_data_limits(draft.data)
        return await publisher.publish(draft, timeout_s=None)
    except TidingsError as error:
        return error


def _code_of(answer: Accepted | TidingsError) -> str:
    if isinstance(answer, CommandRefused):
        return answer.refusal
    return answer.code if isinstance(answer, TidingsError) else ""


def _in_order(events: Sequence[SpooledEvent], given_up: Sequence[SpooledEvent]) -> list[Draft]:
    """Return the events to send: before an end whose attempt was given up, the start of an attempt that it can end."""
    drafts: list[Draft] = []
    for event in events:
        if event in given_up:
            drafts.append(_next_attempt(event))
        drafts.append(event.draft)
    return drafts


def _next_attempt(end: SpooledEvent) -> Draft:
    assert end.again is not None
    # Derived from the end, so that it is stored once, however often and by whichever process it is sent.
    event_id = hashlib.sha256(f"again {end.draft.event_id}".encode()).hexdigest()[:32]
    return msgspec.structs.replace(
        end.draft, type=MessageType.OPERATION_START.value, data=Raw(encode_payload(end.again)), event_id=event_id
    )


def _operation(draft: Draft) -> str | None:
    if not draft.type.startswith("operation:"):
        return None
    try:
        return msgspec.json.decode(draft.data, type=_OperationIdOnly).operation_id
    except (msgspec.DecodeError, RecursionError):
        return None


class _OperationIdOnly(Struct, frozen=True):
    operation_id: str | None = None
