"""Where spool files are, and how many of them."""

import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from msgspec import Struct

from tidings.producer.spool.file import SUFFIX, UNFINISHED, SpoolFile, name_prefix

VARIABLE = "TIDINGS_SPOOL"
_DAY_S = 86_400.0
_UNFINISHED_S = 3_600.0
"""After which a file that never got its name is nobody's."""


class SpoolOptions(Struct, frozen=True, kw_only=True):
    """What of a producer outlives it, and for how long. Policy: the oldest goes first."""

    folder: Path | None = None
    """None is the variable TIDINGS_SPOOL, else the user's state folder, else a folder for temporary files."""
    bytes_of_one: int = 16 << 20
    """Of one producer: fifty thousand starts and ends that no hub has taken."""
    bytes_of_all: int = 64 << 20
    files_of_all: int = 1_000
    """A night of a job that runs every minute, while its hub is away; each takes a block of the disk."""
    age_s: float = 7 * _DAY_S
    """As long as a hub keeps what is not finished."""


def folders(options: SpoolOptions, environment: Mapping[str, str]) -> list[Path]:
    """Return where spool files may be, the preferred place first."""
    if options.folder is not None:
        return [options.folder]
    chosen: list[Path] = []
    if named := environment.get(VARIABLE):
        chosen.append(Path(named))
    elif state := environment.get("XDG_STATE_HOME"):
        chosen.append(Path(state) / "tidings" / "spool")
    else:
        home = Path("~").expanduser()
        if home.is_absolute():
            chosen.append(home / ".local" / "state" / "tidings" / "spool")
    # With the user's number: others can make a folder of that name there, but none that is theirs and passes for ours.
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return [*chosen, Path(tempfile.gettempdir()) / f"tidings-spool-{user}"]


def usable_folder(choices: list[Path]) -> Path:
    """Return the first of `choices` in which files can be made; makes the folder.

    Raises:
        OSError: It is none of them; with the reason of the first.
    """
    failure: OSError | None = None
    for folder in choices:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not _is_ours(folder):
                raise PermissionError(f"{folder} belongs to somebody else")
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(f"{folder} is not writable")
        except OSError as error:
            failure = failure or error
        else:
            return folder
    raise failure or FileNotFoundError("no folder for the spool")


def _is_ours(folder: Path) -> bool:
    return not hasattr(os, "getuid") or folder.lstat().st_uid in (os.getuid(), 0)


def files_for(url: str, choices: list[Path]) -> list[Path]:
    """Return the spool files of all producers for `url`, the oldest first."""
    prefix = name_prefix(url)
    return [path for _, _, path in sorted(_listed(choices)) if path.name.startswith(prefix) and path.suffix == SUFFIX]


def sweep(options: SpoolOptions, choices: list[Path], now: float | None = None) -> int:
    """Delete what dead producers left and is too old or too much; return how many files with events in them."""
    now = time.time() if now is None else now
    deleted, size, count = 0, 0, 0
    for changed, length, path in sorted(_listed(choices), reverse=True):
        age_s = now - changed
        if path.suffix == UNFINISHED:
            if age_s > _UNFINISHED_S:
                _delete(path)
            continue
        size += length
        count += 1
        if age_s > options.age_s or size > options.bytes_of_all or count > options.files_of_all:
            deleted += _delete(path)
    return deleted


def _delete(path: Path) -> bool:
    """Delete the file of a dead producer; return whether there were events in it."""
    try:
        file = SpoolFile.open_dead(path)
        if file is None:
            return False
        had = bool(file.pending)
        file.pending.clear()
        file.close()
    except OSError:
        return False
    return had


def _listed(choices: list[Path]) -> Iterator[tuple[float, int, Path]]:
    for folder in choices:
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.endswith((SUFFIX, UNFINISHED)) and entry.is_file(follow_symlinks=False):
                        facts = entry.stat(follow_symlinks=False)
                        yield facts.st_mtime, facts.st_size, Path(entry.path)
        except OSError:
            continue  # not there, or not ours to read
