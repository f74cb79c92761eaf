"""The clocks of a log's hub as they were saved, from which its next run continues the ages of events.

In `meta`: `wall_ns` and `steady_ns` are the hub's clocks when they were saved last, `jump OFFSET` is the size of a jump
after the event at that offset, and `restart OFFSET` marks one over a restart of the machine. None of them is
in a file that only an older version wrote.
"""

import sqlite3

from tidings.log.clock_jumps import MIN_JUMP_NS, ClockJumps

_JUMP = "jump "
_RESTART = "restart "


class SavedClock:
    """The rows about clocks in one file.

    Args:
        connection: To the log's file.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        rows = connection.execute("SELECT name, value FROM meta WHERE name GLOB 'jump [0-9]*'").fetchall()
        # A damaged row is left out: some events then seem older or younger than they are.
        good = [(name[len(_JUMP) :], jump_ns) for name, jump_ns in rows if isinstance(jump_ns, int)]
        restarts = connection.execute("SELECT name FROM meta WHERE name GLOB 'restart [0-9]*'").fetchall()
        self.jumps = ClockJumps(
            sorted((int(offset), jump_ns) for offset, jump_ns in good if offset.isdecimal()),
            {int(name[len(_RESTART) :]) for (name,) in restarts if name[len(_RESTART) :].isdecimal()},
        )
        self._is_same_boot = False
        self._ahead_ns: int | None = None
        """Difference between the wall clock and the steady one; None before `start`."""
        self._is_changed = False

    def begin(self, boot_id: str) -> None:
        """Compare the boot id of the machine with the saved one, which the caller then replaces; "" if it has none."""
        (saved,) = self._connection.execute("SELECT value FROM meta WHERE name = 'boot'").fetchone()
        self._is_same_boot = bool(boot_id) and saved == boot_id

    def start(self, now_ns: int, steady_ns: int, head: int) -> int:
        """Compare the clocks with the saved ones; return by how much the wall clock jumped in between, or 0."""
        self._ahead_ns = now_ns - steady_ns
        seen = self._last_seen(head)
        if seen is None:
            return 0
        wall_ns, seen_steady_ns = seen
        is_restart = not self._is_same_boot or seen_steady_ns is None
        passed_ns = 0 if is_restart else steady_ns - (seen_steady_ns or 0)
        jump_ns = now_ns - wall_ns - max(0, passed_ns)
        if abs(jump_ns) < MIN_JUMP_NS:
            jump_ns = 0
            if not is_restart:
                return 0
        self.jumps.add(head, jump_ns, is_restart=is_restart)
        self._is_changed = True
        return jump_ns

    def _last_seen(self, head: int) -> tuple[int, int | None] | None:
        """Return the wall clock and the steady one when the log was used last; None for what is unknown."""
        meta = dict(self._connection.execute("SELECT name, value FROM meta WHERE name IN ('wall_ns', 'steady_ns')"))
        found = self._connection.execute(
            "SELECT received_ns FROM events WHERE offset = ? AND typeof(received_ns) = 'integer'", (head,)
        ).fetchone()
        newest_ns = None if found is None else self.jumps.adjust(head, found[0])
        wall_ns, steady_ns = meta.get("wall_ns"), meta.get("steady_ns")
        if not (isinstance(wall_ns, int) and isinstance(steady_ns, int)):  # a new log, or one of an older version
            return None if newest_ns is None else (newest_ns, None)
        # A killed hub saved its clocks before its newest event, or not at all.
        later_ns = 0 if newest_ns is None else max(0, newest_ns - wall_ns)
        return wall_ns + later_ns, steady_ns + later_ns

    def record_jump(self, jump_ns: int, head: int) -> None:
        """Record that the wall clock jumped after the event at offset `head`."""
        if self._ahead_ns is not None:
            self._ahead_ns += jump_ns
        self.jumps.add(head, jump_ns)
        self._is_changed = True

    # Saving.

    def is_due(self) -> bool:
        """Return whether a jump waits to be saved."""
        return self._is_changed

    def save(self, now_ns: int) -> None:
        """Save the clocks and the jumps, in the caller's transaction."""
        execute = self._connection.execute
        if self._ahead_ns is not None:
            execute("INSERT OR REPLACE INTO meta VALUES ('wall_ns', ?)", (now_ns,))
            execute("INSERT OR REPLACE INTO meta VALUES ('steady_ns', ?)", (now_ns - self._ahead_ns,))
        if self._is_changed:
            execute("DELETE FROM meta WHERE name GLOB ? OR name GLOB ?", (f"{_JUMP}*", f"{_RESTART}*"))
            for offset, jump_ns in self.jumps:
                execute("INSERT INTO meta VALUES (?, ?)", (f"{_JUMP}{offset}", jump_ns))
            for offset in self.jumps.restarts:
                execute("INSERT INTO meta VALUES (?, 1)", (f"{_RESTART}{offset}",))

    def commit(self) -> None:
        """Record that the jumps are in the file."""
        self._is_changed = False
