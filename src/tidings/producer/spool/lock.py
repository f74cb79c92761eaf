"""A lock on a file that its process lets go of by dying, whatever it dies of."""

import sys

if sys.platform == "win32":
    import msvcrt
    import os

    _FAR = 1 << 30
    """Beyond what a file of ours holds: Windows lets nobody else read what is locked."""

    def try_lock(file: int) -> bool:
        """Lock an open file for as long as it is open; return False where somebody else has."""
        os.lseek(file, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            os.lseek(file, 0, os.SEEK_SET)
        return True

else:
    import fcntl

    def try_lock(file: int) -> bool:
        """Lock an open file for as long as it is open; return False where somebody else has.

        With `flock`, whose locks belong to the opening, not to the process: two outboxes of one process lock each other
        out, and that one of them closes a file takes no lock from the other.

        Raises:
            OSError: The file system knows no locks.
        """
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
