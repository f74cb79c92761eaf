"""A hub inside an application of one's own: FastAPI, Starlette, Litestar, Django's ASGI side."""

import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from msgspec import structs

from tidings.contract.contract import Contract
from tidings.hub.config import HubConfig
from tidings.log.base import Log, Scheduler
from tidings.log.memory import MemoryLog
from tidings.log.sqlite.log import SqliteLog
from tidings.server.app import HubApp


def embedded_hub(
    data: str | os.PathLike[str] | None = None,
    *,
    config: HubConfig | None = None,
    contract: Contract | None = None,
    allow_origins: Iterable[str] = (),
) -> HubApp:
    """Make a hub to be mounted in an application, which decides about host names itself.

    ::

        hub = embedded_hub("var/tidings")
        app = FastAPI(lifespan=hub.lifespan)
        app.mount("/tidings", hub)

    A data folder belongs to one process: an application with several workers runs one `tidings serve` beside them.

    Args:
        data: The data folder, made if it is not there; None keeps no file.
        config: Limits and rhythms, and what is kept.
        contract: What may be published.
        allow_origins: Web origins, besides the application's own, whose pages may use the hub.

    Raises:
        ConfigError: One of `allow_origins` is no origin.
    """
    spoken = contract or Contract()
    limits = config or HubConfig()
    retention = limits.retention
    if not retention.keep_newest:
        retention = structs.replace(retention, keep_newest=spoken.keep_newest)

    def open_log(scheduler: Scheduler) -> Log:
        if data is None:
            return MemoryLog(_new_epoch(), retention)
        return SqliteLog(Path(data), scheduler, _new_epoch, retention=retention)

    return HubApp(open_log, config=limits, contract=spoken, allow_origins=allow_origins, check_host=False)


def _new_epoch() -> str:
    return secrets.token_hex(4)
