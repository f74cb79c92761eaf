"""What must outlive the process: starts and ends, on disk from before they are sent until the hub has them."""

import os
import threading
from collections.abc import Callable

from tidings.client.drafts import Draft
from tidings.exceptions import ConfigError, TidingsError
from tidings.producer.spool.directory import VARIABLE, SpoolOptions, folders, usable_folder
from tidings.producer.spool.file import Kept, SpoolFile, SpoolHeader
from tidings.protocol.payloads import OperationStartData

_HINT = f"Name a folder that this program may write to in {VARIABLE}."


class Spool:
    """One producer's spool. Thread-safe; never raises: without a place to write, events are in memory alone.

    The file is made with the first event, and deleted at the end where the hub has everything.

    Args:
        options: Where, and how much.
        url: The hub's address.
        producer_id: The producer's.
        trouble: Called with what keeps events from the disk.
    """

    def __init__(
        self, options: SpoolOptions, url: str, producer_id: str, trouble: Callable[[TidingsError], None]
    ) -> None:
        self._options = options
        self._header = SpoolHeader(url=url, producer_id=producer_id, pid=os.getpid())
        self._trouble = trouble
        self._lock = threading.Lock()
        self._file: SpoolFile | None = None
        self._ended = False

    def keep(self, draft: Draft, *, attempt: int | None = None, again: OperationStartData | None = None) -> None:
        """Keep an event until it is done with.

        Args:
            draft: The event.
            attempt: The attempt that it ends.
            again: How the next attempt begins, where the hub has given this one up by then.
        """
        kept = Kept(draft=draft, attempt=attempt, again=again)
        try:
            with self._lock:
                if self._ended:
                    return
                if self._file is None:
                    self._file = self._create()
                self._file.keep(kept)
                dropped = self._bound(self._file)
        except OSError as error:
            self._fail(error)
            return
        if dropped:
            self._trouble(ConfigError("the spool is full: the oldest events in it are dropped", option="spool"))

    def done(self, event_id: str) -> None:
        """Forget an event: the hub has it, or will not have it."""
        try:
            with self._lock:
                if self._file is not None:
                    self._file.done(event_id)
        except OSError as error:
            self._fail(error)

    def close(self) -> None:
        """Let go of the file; what is in it is the next producer's to send."""
        with self._lock:
            file, self._file, self._ended = self._file, None, True
            if file is not None:
                file.close()

    def abandon(self) -> None:
        """Close it in a forked child, whatever another thread of the parent was doing with it."""
        file, self._file, self._ended = self._file, None, True
        if file is not None:
            file.abandon()

    def _create(self) -> SpoolFile:
        try:
            return SpoolFile.create(usable_folder(folders(self._options, os.environ)), self._header)
        except OSError:
            # To try again with every event would cost the job more than it is worth.
            self._ended = True
            raise

    def _bound(self, file: SpoolFile) -> int:
        most = self._options.bytes_of_one
        return file.compact(most // 2) if file.size > most else 0

    def _fail(self, error: OSError) -> None:
        reason = error.strerror or str(error)
        self._trouble(
            ConfigError(f"starts and ends of operations are not kept on disk: {reason}", option="spool", hint=_HINT)
        )
