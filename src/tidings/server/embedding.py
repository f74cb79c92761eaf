"""A hub inside another application: FastAPI, Starlette, Litestar, Django over ASGI."""

import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from msgspec import structs

from tidings.contract.contract import Contract
from tidings.exceptions import MissingExtra

try:
    from tidings.access.control import DEFAULT_RECHECK_S, AccessOptions
    from tidings.access.sign_in import SignInPages
    from tidings.access.subjects import Authenticator
    from tidings.hub.config import HubConfig
    from tidings.log.base import Log, Scheduler
    from tidings.log.memory import MemoryLog
    from tidings.log.sqlite.log import SqliteLog
    from tidings.server.app import HubApp
    from tidings.server.application_access import ApplicationAuthenticator, Authenticate
    from tidings.server.application_access import GrantedSubject as GrantedSubject
    from tidings.server.link_templates import LinkTemplate
    from tidings.server.opening_thread import OpeningThread
except ModuleNotFoundError as missing:
    raise MissingExtra(f"an embedded hub needs {missing.name}, which is not installed", extra="hub") from missing


def embedded_hub(
    data: str | os.PathLike[str] | None = None,
    *,
    config: HubConfig | None = None,
    contract: Contract | None = None,
    allow_origins: Iterable[str] = (),
    trusted_proxies: Iterable[str] = (),
    authenticate: Authenticate | None = None,
    recheck_s: float = DEFAULT_RECHECK_S,
    authenticators: Sequence[Authenticator] = (),
    sign_in_url: str = "",
    sign_out_url: str = "",
    links: Mapping[str, str] | None = None,
) -> HubApp:
    """Make a hub that an application mounts; the application checks host names itself.

    ::

        hub = embedded_hub("var/tidings")
        app = FastAPI(lifespan=hub.lifespan)
        app.mount("/tidings", hub)

    A data folder belongs to one process: an application with several workers runs one `tidings serve` for all of them.

    Args:
        data: The data folder, created if it does not exist; None keeps the log in memory.
        config: Limits, intervals and retention.
        contract: The contract, which defines the events that may be published.
        allow_origins: Web origins, besides the application's own, whose pages may use the hub.
        trusted_proxies: Addresses and networks (`10.0.0.0/8`) of proxies whose `Forwarded` and `X-Forwarded-*` headers
            count. The server must not apply them as well (uvicorn: `proxy_headers=False`).
        authenticate: Identifies clients: an async function from the request to a `GrantedSubject`, or to None if the
            application does not know who sends it. Without it and `authenticators`, everyone may do everything.
        recheck_s: Time after which `authenticate` is called again for an open connection, in seconds.
        authenticators: Verify credentials of other kinds, such as tokens, before `authenticate` is asked.
        sign_in_url: The application's page at which people sign in, to which the dashboard leads; `{url}` in it stands
            for the address to return to.
        sign_out_url: The application's page at which people sign out.

        links: Links from the page of each operation to other systems, by their labels, such as
            `{"Trace": "https://traces.example.com/{trace_id}"}`.

    Raises:
        ConfigError: One of `allow_origins`, `trusted_proxies`, the addresses or `links` is not valid.
    """
    contract = contract or Contract()
    config = config or HubConfig()
    retention = config.retention
    if not retention.keep_newest:
        retention = structs.replace(retention, keep_newest=contract.keep_newest)

    def open_log(scheduler: Scheduler) -> Log | OpeningThread:
        if data is None:
            return MemoryLog(_new_epoch(), retention)
        folder = Path(data)
        return OpeningThread(
            lambda progress: SqliteLog(folder, scheduler, _new_epoch, retention=retention, progress=progress)
        )

    access = None
    if authenticate is not None or authenticators:
        requests = None if authenticate is None else ApplicationAuthenticator(authenticate, contract.channels)
        pages = SignInPages(sign_in_url=sign_in_url, sign_out_url=sign_out_url)
        access = AccessOptions(authenticators=authenticators, requests=requests, recheck_s=recheck_s, pages=pages)
    return HubApp(
        open_log,
        config=config,
        contract=contract,
        allow_origins=allow_origins,
        check_host=False,
        trusted_proxies=trusted_proxies,
        access=access,
        links=[LinkTemplate(label=label, template=template) for label, template in (links or {}).items()],
    )


def _new_epoch() -> str:
    return secrets.token_hex(4)
