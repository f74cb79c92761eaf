"""The data folder of one node of a hub of several machines: a log that continues the journal, or a new one.

Nothing in it is needed once a snapshot exists: a node that lost its folder begins with an empty one.
"""

import logging
import secrets
import shutil
import socket
from pathlib import Path

from tidings.exceptions import LogCorrupt
from tidings.log.journal.replica_state import ReplicaState
from tidings.log.journal.shared_folder import SET_ASIDE, read_replica, set_aside
from tidings.log.journal.snapshots import remove_leftovers
from tidings.log.sqlite.database import FILE, to_log_error
from tidings.private_folder import make_private_folder

_NAME = "node"
"""File with the random part of the node's name."""
_REBUILD = "rebuild"
"""File in the folder of a node whose log differs from those of the others: its next process builds another one."""
_MAX_HOST = 40

logger = logging.getLogger(__name__)


def read_node_name(folder: Path) -> str:
    """Return the name of the node, which stays the same over restarts; the host, and a number of the folder.

    Raises:
        LogError: The folder cannot be read or written.
    """
    path = folder / _NAME
    try:
        make_private_folder(folder)
        number = path.read_text().strip() if path.exists() else ""
        if not number:
            number = secrets.token_hex(3)
            path.write_text(f"{number}\n")
    except (OSError, ValueError) as cause:
        raise to_log_error(cause, path) from cause
    return f"{socket.gethostname()[:_MAX_HOST]}-{number[:16]}"


def read_own_log(folder: Path, *, stamp: str) -> ReplicaState | None:
    """Return how far the log in a folder has folded the journal; None if there is none that can be used.

    A damaged log is set aside. The caller has locked the folder, which is not `journal.seeding.is_of_one_machine`.

    Args:
        folder: The folder.
        stamp: Name for what is set aside, not used before.

    Raises:
        LogError: It cannot be read.
    """
    path = folder / FILE
    remove_leftovers(folder)
    if not path.exists():
        return None
    try:
        replica = read_replica(folder)
    except LogCorrupt as error:
        logger.error("the log in %s is set aside: %s", folder, error)
        set_aside(path, stamp)
        return None
    if (folder / _REBUILD).exists():
        logger.warning("the log in %s differs from those of other nodes: it is set aside, and built again", folder)
        set_aside(path, stamp)
        (folder / _REBUILD).unlink()
        return None
    if replica is None:
        remove_log(folder)  # nothing was stored in it
        return None
    return replica.state


def mark_node_for_rebuilding(folder: Path) -> None:
    """Let the next process of a node build its log again, because it differs from those of the others.

    Raises:
        OSError: The mark cannot be written.
    """
    (folder / _REBUILD).touch(mode=0o600)


def remove_log(folder: Path) -> None:
    """Remove the log of a folder.

    Raises:
        OSError: It cannot be removed.
    """
    for left in sorted(folder.glob(f"{FILE}*"), reverse=True):
        left.unlink()


def remove_set_aside(folder: Path, stamp: str) -> None:
    """Remove what was set aside under a name."""
    shutil.rmtree(folder / SET_ASIDE / stamp, ignore_errors=True)
