"""Copies of starts and ends that outlive the process: on disk from before they are sent until the hub has them."""

import os
from collections.abc import Callable, Iterable

import msgspec

from tidings.client.drafts import Draft
from tidings.exceptions import ConfigError, TidingsError
from tidings.producer.spool.directory import SPOOL_VARIABLE, SpoolOptions, choose_folder, list_folders
from tidings.producer.spool.file import SpooledEvent, SpoolFile, SpoolHeader
from tidings.protocol.payloads import OperationStartData

_HINT = f"Set {SPOOL_VARIABLE} to a folder that this program may write to."


class Spool:
    """The spool of one producer. Not thread-safe. Never raises: if it cannot write, events are kept in memory only.

    The file is created with the first event, and deleted at the end if the hub has everything.

    Args:
        options: Location and limits.
        url: Address of the hub.
        producer_id: Id of the producer.
        report: Called with errors that keep events from the disk.
    """

    def __init__(
        self, options: SpoolOptions, url: str, producer_id: str, report: Callable[[TidingsError], None]
    ) -> None:
        self._options = options
        self._header = SpoolHeader(url=url, producer_id=producer_id, pid=os.getpid())
        self._report = report
        self._file: SpoolFile | None = None
        self._ended = False

    def keep(self, draft: Draft, *, attempt: int | None = None, again: OperationStartData | None = None) -> None:
        """Keep an event until `done`.

        Args:
            draft: The event.
            attempt: For an end: its attempt.
            again: For an end: the start of the next attempt, in case the hub has given this one up.
        """
        kept = SpooledEvent(draft=draft, attempt=attempt, again=again)
        try:
            if self._ended:
                return
            if self._file is None:
                self._file = self._create()
            self._file.keep(kept)
            dropped = self._limit_size(self._file)
        except OSError as error:
            self._report_failure(error)
            return
        if dropped:
            self._report(ConfigError("the spool is full: its oldest events are dropped", option="spool"))

    def done(self, event_id: str) -> None:
        """Forget an event that the hub has, or has refused for good."""
        try:
            if self._file is not None:
                self._file.done(event_id)
        except OSError as error:
            self._report_failure(error)

    def give_owner(self, owner: str, subject: str) -> None:
        """Note to whom the events belong; only that owner's token may send them.

        Args:
            owner: Owner of the token, as `describe_owner` returns it.
            subject: Subject of the token, as the hub names it; "" if it does not.
        """
        header = msgspec.structs.replace(self._header, owner=owner, subject=subject)
        if header == self._header:
            return
        self._header = header
        try:
            if self._file is not None:
                self._file.give_owner(header)
        except OSError as error:
            self._report_failure(error)

    def keeps(self, event_ids: Iterable[str]) -> bool:
        """Return whether all of these events are on disk."""
        file = self._file
        return file is not None and all(event_id in file.pending for event_id in event_ids)

    def close(self) -> None:
        """Close the file; another producer recovers the events in it."""
        file, self._file, self._ended = self._file, None, True
        if file is not None:
            file.close()

    def _create(self) -> SpoolFile:
        try:
            return SpoolFile.create(choose_folder(list_folders(self._options, os.environ)), self._header)
        except OSError:
            # Trying again with every event would cost the job more than it is worth.
            self._ended = True
            raise

    def _limit_size(self, file: SpoolFile) -> int:
        limit = self._options.bytes_of_one
        return file.compact(limit // 2) if file.size > limit else 0

    def _report_failure(self, error: OSError) -> None:
        reason = error.strerror or str(error)
        self._report(
            ConfigError(f"starts and ends of operations are not kept on disk: {reason}", option="spool", hint=_HINT)
        )
