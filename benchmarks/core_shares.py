"""Processes that may use only a share of a core, each in a control group of its own: Linux, as root."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

PERIOD_US: Final = 10_000
"""Time in which a process may use its share: short, so that a process that has used it up does not wait for long."""
_V1: Final = Path("/sys/fs/cgroup/cpu")
_V2: Final = Path("/sys/fs/cgroup")


class NoControlGroups(Exception):
    """This machine does not let us limit processes."""


@contextmanager
def limited_to(share: float, pids: Sequence[int]) -> Iterator[None]:
    """Let each of some processes, with the threads that it has, use a share of one core during a `with` block.

    Args:
        share: Part of a core, such as 0.25.
        pids: The processes.

    Raises:
        NoControlGroups: There is no CPU controller, or it cannot be changed.
    """
    root = _V1 if _V1.is_dir() else _V2
    groups = [root / f"tidings-benchmark-{pid}" for pid in pids]
    quota = int(share * PERIOD_US)
    try:
        for group, pid in zip(groups, pids, strict=True):
            group.mkdir()
            if root == _V1:
                (group / "cpu.cfs_period_us").write_text(f"{PERIOD_US}")
                (group / "cpu.cfs_quota_us").write_text(f"{quota}")
            else:
                (group / "cpu.max").write_text(f"{quota} {PERIOD_US}")
            (group / "cgroup.procs").write_text(f"{pid}")
        yield
    except OSError as cause:
        raise NoControlGroups(f"cannot limit a process to a share of a core: {cause}") from cause
    finally:
        for group, pid in zip(groups, pids, strict=True):
            if group.is_dir():
                if Path(f"/proc/{pid}").is_dir():
                    (root / "cgroup.procs").write_text(f"{pid}")
                os.rmdir(group)
