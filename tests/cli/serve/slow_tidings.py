"""`tidings` with a data folder that takes long to open: until the file that `GATE` names exists."""

import os
import time
from pathlib import Path
from typing import Any

from tidings.cli import main
from tidings.cli.serve import log_opening
from tidings.exceptions import LogUnavailable
from tidings.log.opening import OpeningProgress
from tidings.log.sqlite.log import SqliteLog


def _open_slowly(*arguments: Any, progress: OpeningProgress, **options: Any) -> SqliteLog:
    gate = Path(os.environ["GATE"])
    progress.rows_read, progress.rows = 312_000, 500_000
    while not gate.exists():
        if progress.stopped:
            raise LogUnavailable("the opening of the log was stopped")
        time.sleep(0.01)
    return SqliteLog(*arguments, progress=progress, **options)


if __name__ == "__main__":
    vars(log_opening)["SqliteLog"] = _open_slowly
    main()
