"""Advisory lock on an open file, which the OS releases when the file is closed or its process exits."""

import os
import sys

if sys.platform == "win32":
    import msvcrt

    _LOCK_OFFSET = 1 << 30
    """Byte to lock, beyond the end of any file of ours: on Windows other processes cannot read locked bytes."""

    def try_lock(file: int) -> bool:
        """Lock an open file until it is closed; return False if another process has locked it."""
        os.lseek(file, _LOCK_OFFSET, os.SEEK_SET)
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
        """Lock an open file until it is closed; return False if it is locked elsewhere.

        It uses `flock`, whose locks belong to the open file, not to the process: so two owners in one process exclude
        each other, and one of them closing a file does not release the lock of the other.

        Raises:
            OSError: The file system does not support locks.
        """
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
