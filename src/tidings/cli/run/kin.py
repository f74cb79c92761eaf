"""What a command has started, where it shares its process group with others."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc")


class Kin:
    """A process and the descendants it was seen to have; nobody else, though they be of one group.

    A process is known by its id and its start, so that another that was given the id later is not taken for it. Where
    there is no /proc, the descendants are not found.

    Args:
        pid: The process.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._members: dict[int, str] = {}

    def look(self) -> None:
        """See who there is now; call it only while the process is not fetched by its parent."""
        self._members.update(_family(self._pid))

    def send(self, number: int) -> bool:
        """Send a signal to those that are left, 0 to look only, and return whether there were any."""
        alive = False
        for pid, start in self._members.items():
            if _start_of(pid) != start:
                continue
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
                alive = True
        return alive


def _family(pid: int) -> dict[int, str]:
    """Return the starts of a process and of its descendants, by their ids."""
    children: dict[int, list[int]] = {}
    starts: dict[int, str] = {}
    for each, parent, start in _processes():
        children.setdefault(parent, []).append(each)
        starts[each] = start
    found: dict[int, str] = {}
    waiting = [pid]
    while waiting:
        each = waiting.pop()
        found[each] = starts.get(each, "")
        waiting.extend(child for child in children.get(each, ()) if child not in found)
    return found


def _processes() -> Iterator[tuple[int, int, str]]:
    """Return the id, the parent and the start of each process."""
    if not (_PROC / "self" / "stat").exists():
        return
    for entry in os.scandir(_PROC):
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields:
                yield int(entry.name), int(fields[1]), fields[19]


def _start_of(pid: int) -> str:
    fields = _stat(pid)
    # Who has ended, and is only not yet fetched by its parent, does nothing any more.
    return "gone" if fields[:1] in (["Z"], ["X"]) else fields[19] if fields else ""


def _stat(pid: int) -> list[str]:
    """Return what /proc says of a process from its state on; nothing where it is gone."""
    try:
        # The name before it, in parentheses, may hold anything.
        return (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(") ")[2].split()
    except OSError:
        return []
