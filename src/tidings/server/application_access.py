"""Clients of a mounted hub, identified by the application: its sessions, its dependencies, its middleware.

No outcome of the application's function opens a door: an exception, a timeout and a result that is not a subject are
refusals.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import structlog
from msgspec import Struct
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from tidings.access.grants import Grants
from tidings.access.subjects import AccessRequest, Authenticated, Credential, Subject
from tidings.access.tokens import is_name
from tidings.exceptions import AccessError, AuthenticationUnavailable, Forbidden, InvalidGrant, Unauthenticated

TIMEOUT_S: Final = 10.0
"""Time for the application to identify a client, in seconds: it may ask a database."""
MAX_WAITING: Final = 1_000
"""Clients that are identified at a time; further ones are refused with `authentication_unavailable`."""
_MAX_MESSAGE_CHARS: Final = 200

log = structlog.get_logger("tidings.server")


class GrantedSubject(Struct, frozen=True, kw_only=True):
    """A client that the application has identified."""

    name: str
    """1–255 printable characters: the id of a user, for example. Subjects of one name are the same to the hub."""
    grants: Sequence[str] = ()
    """Grants as in docs/access.md, such as `read operations/42.*`."""
    expires_at: datetime | None = None
    """When the right ends, with a time zone; None if the application ends it."""


Authenticate = Callable[[HTTPConnection], Awaitable[GrantedSubject | None]]
"""Returns who sends a request or opens a WebSocket; None if the application has not identified them.

It may raise Starlette's or FastAPI's `HTTPException` with 401 or 403, as a dependency does.
"""


class ApplicationAuthenticator:
    """The `tidings.access.subjects.Authenticator` that calls a function of the application.

    Args:
        authenticate: The function.
        channels: The channels of the hub's contract.
        timeout_s: Time for one call, in seconds.
        wall_ns: Returns nanoseconds since 1970.
    """

    method = "application"

    def __init__(
        self,
        authenticate: Authenticate,
        channels: Iterable[str],
        *,
        timeout_s: float = TIMEOUT_S,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._wall_ns = wall_ns
        self._authenticate = authenticate
        self._channels = tuple(channels)
        self._timeout_s = timeout_s
        self._tasks: set[asyncio.Task[None]] = set()

    def accepts(self, credential: Credential) -> bool:
        """See `Authenticator.accepts`: the function decides."""
        return True

    def authenticate(self, credential: Credential, request: AccessRequest, done: Authenticated) -> None:
        """See `Authenticator.authenticate`. To be called on a running event loop."""
        if len(self._tasks) >= MAX_WAITING:
            done(_unavailable())
            return
        task = asyncio.get_running_loop().create_task(self._run(credential, request, done))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, credential: Credential, request: AccessRequest, done: Authenticated) -> None:
        result: Subject | AccessError = _unavailable()
        try:
            result = await self._identify(HTTPConnection(_scope_of(credential, request)))
        except InvalidGrant:
            log.exception("the application's function that identifies clients returned an invalid grant")
        except AccessError as error:
            result = error
        except HTTPException as error:
            result = _to_access_error(error)
        except TimeoutError:
            log.error("the application did not identify a client in time", timeout_s=self._timeout_s)
        except Exception:
            log.exception("the application's function that identifies clients failed")
        finally:
            done(result)  # also if the task is cancelled

    async def _identify(self, connection: HTTPConnection) -> Subject | AccessError:
        async with asyncio.timeout(self._timeout_s):
            found = await self._authenticate(connection)
        if found is None:
            return Unauthenticated("the application has not identified this client", hint="Sign in first.")
        if not isinstance(found, GrantedSubject):
            raise TypeError(f"`authenticate` returned {type(found).__name__}: expected GrantedSubject or None")
        if not isinstance(found.name, str) or not is_name(found.name):
            raise ValueError("`authenticate` returned a name that is not text of 1–255 printable characters")
        if isinstance(found.grants, str):
            raise TypeError("`authenticate` returned text as `grants`: expected a list of texts")
        expires_at = found.expires_at
        if expires_at is not None and expires_at.tzinfo is None:
            raise ValueError("`authenticate` returned `expires_at` without a time zone")
        return Subject(
            name=found.name,
            grants=Grants.parse(found.grants, self._channels),
            expires_ns=None if expires_at is None else int(expires_at.timestamp() * 1e9),
            issued_ns=self._wall_ns(),
        )


def _scope_of(credential: Credential, request: AccessRequest) -> Any:
    """Return the scope that the function sees: a token of `auth:token` is in its `Authorization` header."""
    scope = request.host
    if not isinstance(scope, dict):
        raise TypeError("the hub is not mounted in an ASGI application")
    if credential.source != "message" or not credential.value:
        return scope
    headers = [(name, value) for name, value in scope["headers"] if name.lower() != b"authorization"]
    token = f"Bearer {credential.value}".encode("latin-1", errors="replace")
    return {**scope, "headers": [*headers, (b"authorization", token)]}


def _to_access_error(error: HTTPException) -> AccessError:
    message = str(error.detail)[:_MAX_MESSAGE_CHARS]
    if error.status_code == 401:
        return Unauthenticated(message)
    if 400 <= error.status_code < 500:
        return Forbidden(message)
    return _unavailable()


def _unavailable() -> AuthenticationUnavailable:
    return AuthenticationUnavailable("the application cannot identify clients now")
