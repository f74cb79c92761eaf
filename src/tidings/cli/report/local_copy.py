"""Local files of a script's operation between its commands: that it began, and the events that no hub has taken."""

import contextlib
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
from msgspec import Struct

from tidings.client.drafts import Draft
from tidings.producer.spool.directory import (
    STARTED,
    SpoolOptions,
    choose_folder,
    delete_expired_files,
    list_folders,
    list_spool_files,
)
from tidings.producer.spool.file import SpooledEvent, SpoolFile, SpoolHeader, file_name

_LOCKED_RETRY_S = 0.05
"""Delay before a spool file that another process is sending is opened again."""


class StartedMark(Struct, frozen=True, kw_only=True):
    """Contents of the file that notes that an operation began on this machine."""

    lease_s: float | None = None


class LocalCopy:
    """The local files of one operation, in the spool's folder.

    The spool file is that of a producer: `tidings flush` and the next program that reports to the same hub send it.

    Args:
        url: Address of the hub.
        producer_id: Producer id for the operation.
        owner: Owner of the token, as `describe_owner` returns it: the files of another owner are left alone.
        timeout_s: Maximum time to wait for a process that sends the spool file at the moment.
    """

    def __init__(self, url: str, producer_id: str, owner: str, timeout_s: float) -> None:
        self._url = url
        self._owner = owner
        self._producer_id = producer_id
        self._timeout_s = timeout_s
        self._options = SpoolOptions()
        self._folders = list_folders(self._options, os.environ)
        self._file: SpoolFile | None = None
        self._failure: OSError | None = None
        try:
            self._file = self._open(timeout_s)
        except OSError as error:
            self._failure = error
        if self._file is not None and not self._file.header.belongs_to(owner, None):
            kept_by = self._file.header.owner
            self._file.close()
            self._file, self._failure = None, PermissionError(f"the events kept there are of another token: {kept_by}")
        self._mark = next((mark for folder in self._folders if (mark := self._read_mark(folder)) is not None), None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    @property
    def known(self) -> bool:
        """Whether the operation began on this machine and has not ended here."""
        return self._mark is not None or bool(self.pending)

    @property
    def lease_s(self) -> float | None:
        """Lease with which the operation began here, in seconds; None if it has none."""
        if self._mark is not None:
            return self._mark.lease_s
        return None if self._file is None else self._file.header.lease_s

    @property
    def pending(self) -> list[Draft]:
        """Events that no hub has taken, the oldest first."""
        return [] if self._file is None else [kept.draft for kept in self._file.pending.values()]

    def keep(self, draft: Draft, lease_s: float | None) -> None:
        """Keep an event until `done`.

        Raises:
            OSError: It cannot be written, or another process is using the file.
        """
        if self._failure is not None:
            raise self._failure
        if self._file is None:
            delete_expired_files(self._options, self._folders)
            self._file = self._create(lease_s)
        self._file.keep(SpooledEvent(draft=draft))

    def done(self, event_id: str) -> None:
        """Forget an event that the hub has, or has refused for good."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # the hub recognises an event that is sent again
                self._file.done(event_id)

    def mark_started(self, lease_s: float | None) -> None:
        """Note that the operation began here; without the note, later commands ask the hub."""
        with contextlib.suppress(OSError):
            path = self._mark_path(choose_folder(self._folders))
            path.write_bytes(msgspec.json.encode(StartedMark(lease_s=lease_s)))

    def mark_ended(self) -> None:
        """Note that the operation has ended."""
        for folder in self._folders:
            with contextlib.suppress(OSError):
                self._mark_path(folder).unlink()

    def _create(self, lease_s: float | None) -> SpoolFile:
        header = SpoolHeader(
            url=self._url,
            producer_id=self._producer_id,
            pid=os.getpid(),
            holds=lease_s is not None,
            lease_s=lease_s,
            owner=self._owner,
        )
        folder = choose_folder(self._folders)
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                return SpoolFile.create(folder, header)
            except FileExistsError:  # another command of this operation was faster, and may have deleted it since
                if (file := self._open(self._timeout_s)) is not None:
                    return file
                if time.monotonic() >= deadline:
                    raise

    def _open(self, timeout_s: float) -> SpoolFile | None:
        deadline = time.monotonic() + timeout_s
        name = file_name(self._url, self._producer_id)
        while True:
            found = [path for path in list_spool_files(self._url, self._folders) if path.name == name]
            if not found:
                return None
            file = SpoolFile.open_dead(found[0])
            if file is not None:
                return file
            if time.monotonic() >= deadline:
                raise TimeoutError(f"{found[0]} is in use by another process")
            time.sleep(_LOCKED_RETRY_S)

    def _read_mark(self, folder: Path) -> StartedMark | None:
        try:
            return msgspec.json.decode(self._mark_path(folder).read_bytes(), type=StartedMark)
        except (OSError, msgspec.DecodeError, RecursionError):
            return None

    def _mark_path(self, folder: Path) -> Path:
        return folder / Path(file_name(self._url, self._producer_id)).with_suffix(STARTED)
