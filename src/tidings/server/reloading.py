"""The parts of a running server that are read again when their files change, and at SIGHUP."""

from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from tidings.exceptions import TidingsError
from tidings.protocol.codes import error_data

log = structlog.get_logger("tidings.server.reloading")

_Signature = tuple[tuple[int, int, int] | None, ...]


class Reloaders:
    """The parts of a server that can be read again while it runs: certificates, keys and others.

    Each part reads and checks everything before it replaces anything, so that a file which cannot be used changes
    nothing, and is logged.
    """

    def __init__(self) -> None:
        self._parts: dict[str, _Part] = {}
        self.reported: Callable[[str, TidingsError | OSError | None], object] = _ignore
        """Called after each reload with the name of the part, and with the error for which the old one stays."""

    def on_reload(self, name: str, reload: Callable[[], None], *, files: Sequence[Path] = ()) -> None:
        """Register a part.

        Args:
            name: What it is, as in the log: `TLS certificate`.
            reload: Reads it again, or raises and keeps the old value. Called on the event loop; it must not block.
            files: Its files. A change of one leads to a reload within about two seconds.
        """
        self._parts[name] = _Part(reload, tuple(files))

    def reload_all(self) -> None:
        """Read every part again, whether its files have changed or not."""
        if not self._parts:
            log.info("nothing to reload", hint="Options are read at the start only: restart the server.")
        for name, part in self._parts.items():
            part.seen = part.pending = part.signature()
            self._reload(name, part)

    def reload_changed(self) -> None:
        """Read the parts again whose files have changed, and have not changed since the last call.

        A certificate and its key, for instance, are replaced one after the other.
        """
        for name, part in self._parts.items():
            if not part.files:
                continue
            now = part.signature()
            if now != part.seen and now == part.pending:
                part.seen = now
                self._reload(name, part)
            part.pending = now

    def _reload(self, name: str, part: "_Part") -> None:
        files = [str(file) for file in part.files]
        try:
            part.reload()
        except (TidingsError, OSError) as error:
            hint = error_data(error).hint or "" if isinstance(error, TidingsError) else ""
            log.warning("reload refused: the old one stays in use", part=name, files=files, error=str(error), hint=hint)
            self.reported(name, error)
        except Exception:
            log.exception("reload failed: the old one stays in use", part=name, files=files)
        else:
            log.info("reloaded", part=name, files=files)
            self.reported(name, None)


class _Part:
    """One part, and the state of its files."""

    __slots__ = ("files", "pending", "reload", "seen")

    def __init__(self, reload: Callable[[], None], files: tuple[Path, ...]) -> None:
        self.reload = reload
        self.files = files
        self.seen = self.pending = self.signature()

    def signature(self) -> _Signature:
        """Return what changes when a file is written or replaced, also by a link to another one."""
        return tuple(map(_stat, self.files))


def _stat(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:  # being replaced
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _ignore(name: str, error: TidingsError | OSError | None) -> None:
    """Do nothing: until a hub with an audit trail runs."""
