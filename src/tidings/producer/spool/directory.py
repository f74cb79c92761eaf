"""Locates spool files, and limits their number, size and age."""

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from msgspec import Struct

from tidings.private_folder import belongs_to_us, has_foreign_home, make_private_folder
from tidings.producer.spool.file import SUFFIX, UNFINISHED, SpoolFile, name_prefix
from tidings.producer.spool.rejected import REJECTED

SPOOL_VARIABLE = "TIDINGS_SPOOL"
STARTED = ".started"
"""Suffix of a file that notes that a shell script began an operation; its contents belong to `tidings report`."""
_DAY_S = 86_400.0
_MAX_UNFINISHED_AGE_S = 3_600.0
"""Age after which a file that never got its final name is deleted."""


class SpoolOptions(Struct, frozen=True, kw_only=True):
    """Location and limits of the spool. Policy: the oldest file is deleted first."""

    folder: Path | None = None
    """Folder of the files; None means TIDINGS_SPOOL, else the user's state folder, else a temporary folder."""
    bytes_of_one: int = 16 << 20
    """Maximum size of one producer's file: fifty thousand starts and ends that no hub has taken."""
    bytes_of_all: int = 64 << 20
    """Maximum size of all files."""
    files_of_all: int = 1_000
    """Maximum number of files: a night of a job that runs every minute while its hub is away; each takes a block."""
    age_s: float = 7 * _DAY_S
    """Maximum age, in seconds: as long as a hub keeps unfinished operations."""


def list_folders(options: SpoolOptions, environment: Mapping[str, str]) -> list[Path]:
    """Return the folders for spool files, the preferred one first."""
    if options.folder is not None:
        return [options.folder]
    chosen: list[Path] = []
    if named := environment.get(SPOOL_VARIABLE):
        chosen.append(Path(named))
    elif state := environment.get("XDG_STATE_HOME"):
        chosen.append(Path(state) / "tidings" / "spool")
    else:
        home = Path(os.path.expanduser("~"))
        if home.is_absolute():
            chosen.append(home / ".local" / "state" / "tidings" / "spool")
    # With the user's id: others can make a folder of that name there, but `belongs_to_us` rejects it.
    user = os.getuid() if hasattr(os, "getuid") else "user"
    try:
        shared = tempfile.gettempdir()  # which writes to it, and fails where the disk is full
    except OSError:
        shared = tempfile.tempdir or environment.get("TMPDIR") or "/tmp"
    return [*chosen, Path(shared) / f"tidings-spool-{user}"]


def choose_folder(choices: list[Path]) -> Path:
    """Create and return the first of `choices` that is writable.

    Raises:
        OSError: None of them is; with the reason of the first.
    """
    failure: OSError | None = None
    for folder in choices:
        try:
            # A folder that was named is made wherever it is.
            if has_foreign_home(folder) and os.environ.get(SPOOL_VARIABLE) != str(folder):
                raise PermissionError(f"{folder} would be in a folder of another user")
            make_private_folder(folder)
            if not belongs_to_us(folder.lstat()):
                raise PermissionError(f"{folder} belongs to another user")
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(f"{folder} is not writable")
        except OSError as error:
            failure = failure or error
        else:
            return folder
    raise failure or FileNotFoundError("there is no folder for the spool")


def list_spool_files(url: str, choices: list[Path]) -> list[Path]:
    """Return all producers' spool files for `url`, the oldest first."""
    prefix = name_prefix(url)
    return [path for _, _, path in sorted(_scan(choices)) if path.name.startswith(prefix) and path.suffix == SUFFIX]


class ClosedSpool(Struct, frozen=True, kw_only=True):
    """A folder or a file with events that this user may not send."""

    path: Path
    owner: str
    """Name of its user, or `#1000`."""
    is_folder: bool
    has_events: bool
    """Whether there are files for the hub; False for a folder that this user may not list."""


def list_closed(url: str, choices: list[Path]) -> Iterator[ClosedSpool]:
    """Yield folders of other users that may have events for `url`, and files in our own that we cannot open."""
    prefix = name_prefix(url)
    for folder in choices:
        try:
            status = folder.lstat()
            if not belongs_to_us(status):
                has_events = any(folder.glob(f"{prefix}*{SUFFIX}"))
                if has_events or not os.access(folder, os.R_OK | os.X_OK):
                    yield ClosedSpool(path=folder, owner=_name_of(status), is_folder=True, has_events=has_events)
                continue
        except OSError:
            continue
        for path in list_spool_files(url, [folder]):
            with contextlib.suppress(FileNotFoundError):
                if not os.access(path, os.R_OK | os.W_OK):
                    yield ClosedSpool(path=path, owner=_name_of(path.lstat()), is_folder=False, has_events=True)


def _name_of(status: os.stat_result) -> str:
    try:
        import pwd

        return pwd.getpwuid(status.st_uid).pw_name
    except (ImportError, KeyError):
        return f"#{status.st_uid}"  # as sudo writes a user without a name


def delete_expired_files(options: SpoolOptions, choices: list[Path], now: float | None = None) -> int:
    """Delete dead producers' files beyond the limits; return the number of those that held unsent events."""
    now = time.time() if now is None else now
    deleted, size, count = 0, 0, 0
    for changed, length, path in sorted(_scan(choices), reverse=True):
        age_s = now - changed
        if path.suffix == UNFINISHED:
            if age_s > _MAX_UNFINISHED_AGE_S:
                _delete(path)
            continue
        size += length
        count += 1
        if age_s > options.age_s or size > options.bytes_of_all or count > options.files_of_all:
            if path.suffix in (REJECTED, STARTED):
                with contextlib.suppress(OSError):
                    path.unlink()
            else:
                deleted += _delete(path)
    return deleted


def _delete(path: Path) -> bool:
    """Delete the file of a dead producer; return whether it held events."""
    try:
        file = SpoolFile.open_dead(path)
        if file is None:
            return False
        had_events = bool(file.pending)
        file.pending.clear()
        file.close()
    except OSError:
        return False
    return had_events


def _scan(choices: list[Path]) -> Iterator[tuple[float, int, Path]]:
    for folder in choices:
        try:
            # Another user could have made the folder, or a file in it, with forged events to send in our name.
            if not belongs_to_us(folder.lstat()):
                continue
            with os.scandir(folder) as entries:
                for entry in entries:
                    if not entry.name.endswith((SUFFIX, UNFINISHED, REJECTED, STARTED)):
                        continue
                    try:
                        if not entry.is_file(follow_symlinks=False):
                            continue
                        status = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue  # its producer has ended since it was listed
                    if belongs_to_us(status):
                        yield status.st_mtime, status.st_size, Path(entry.path)
        except OSError:
            continue  # it does not exist, or is not readable
