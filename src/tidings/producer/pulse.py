"""What the parts of one operation share."""

import threading
from collections.abc import Callable


class Pulse:
    """A lock, a count of changes, and a flag that asks the job's next report to look up.

    A report of the kind that comes a million times (`advance`) adds to a number, looks at `alert`, and is done: the
    pacer reads the number ten times a second. `alert` is set while nobody reads, and while somebody wants the job to
    stop; then the report calls `attend`.

    Args:
        attend: Called by a report that saw `alert`, with whether it is one at the head of a loop; may raise
            OperationCancelled.
        hurry: Called when something changed that should be seen even if the next change follows at once.
    """

    __slots__ = ("alert", "attend", "changes", "hurry", "lock")

    def __init__(self, attend: Callable[[bool], None], hurry: Callable[[], None]) -> None:
        self.alert = True
        self.attend = attend
        self.hurry = hurry
        self.changes = 0
        """Everything that was said otherwise than by counting."""
        # A signal's handler may end the operation in the middle of a report of the same thread.
        self.lock = threading.RLock()

    def changed(self) -> None:
        """Note a change; see that somebody reads it."""
        self.changes += 1
        if self.alert:
            self.attend(False)
