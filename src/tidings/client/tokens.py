"""Where a client's token comes from, and where it may be sent.

In this order: the `token` argument, TIDINGS_TOKEN, the file that TIDINGS_TOKEN_FILE names, and the file that
`tidings login` wrote for the hub. No token stands in the text of an error, in a `repr` or in a log.
"""

import asyncio
import base64
import binascii
import contextlib
import inspect
import os
import threading
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from tidings.client.logins import find_login_file, read_login
from tidings.client.runtime import find_route
from tidings.client.url import authority, is_loopback
from tidings.exceptions import ConfigError, TokenUnavailable

Token = str | Callable[[], "str | Awaitable[str | None] | None"]
"""A token, or a function that returns the present one: None if there is no longer one. It may be asynchronous. It is
called for each connection and ahead of the token's expiry; one that is not asynchronous runs on a thread of its own."""

TOKEN_VARIABLE = "TIDINGS_TOKEN"
TOKEN_FILE_VARIABLE = "TIDINGS_TOKEN_FILE"
"""Environment variable with the path of a file that holds the token, and nothing else."""
PLAINTEXT_VARIABLE = "TIDINGS_ALLOW_PLAINTEXT_TOKEN"
"""Environment variable that lets a token go over an unencrypted network, unless it is 0."""
_MAX_TOKEN_BYTES = 16 << 10
"""Size of a token; the same bound as the hub's."""
_API_KEY = "tdk_"


class TokenSource(Protocol):
    """Yields the present token. No method raises anything but TokenUnavailable."""

    name: str
    """The place of the token, for errors: `TIDINGS_TOKEN`."""
    renewable: bool
    """Whether it may yield another token later."""

    async def fetch(self) -> str | None:
        """Return the present token; None if there is no longer one.

        Raises:
            TokenUnavailable: It cannot be obtained now.
        """

    def read(self) -> str | None:
        """As `fetch`, but blocking."""


class FixedToken:
    """A token that never changes.

    Args:
        token: The token.
        name: See `TokenSource.name`.

    Raises:
        ConfigError: It cannot be sent in a header.
    """

    renewable = False

    def __init__(self, token: str, name: str) -> None:
        self.name = name
        self._token = token
        if fault := _fault(token):
            raise ConfigError(
                f"invalid token in {name}: {fault}",
                option="token",
                source=name,
                hint="Pass the token alone, as it was issued: without `Bearer`, quotes and line ends.",
            )

    def __repr__(self) -> str:
        return f"FixedToken(name={self.name!r})"

    async def fetch(self) -> str | None:
        """See `TokenSource.fetch`."""
        return self._token

    def read(self) -> str | None:
        """See `TokenSource.read`."""
        return self._token


class TokenFile:
    """A file with a token, which is read each time: another program replaces it before the token expires.

    Args:
        path: The file.
        name: See `TokenSource.name`.
    """

    renewable = True

    def __init__(self, path: Path, name: str) -> None:
        self.name = name
        self._path = path

    async def fetch(self) -> str | None:
        """See `TokenSource.fetch`. A named pipe may have no writer yet, for which the loop must not wait."""
        return await _call_in_thread(self.read) if self._path.is_fifo() else self.read()

    def read(self) -> str | None:
        """See `TokenSource.read`."""
        try:
            with self._path.open("rb") as file:
                data = file.read(_MAX_TOKEN_BYTES + 2)
        except OSError as error:
            raise TokenUnavailable(
                f"cannot read the token file {str(self._path)!r}: {error.strerror}",
                hint=f"Correct the path (--token-file or {self.name}), or make the file readable.",
            ) from error
        token = data.decode("ascii", errors="replace").strip()
        if fault := _fault(token):
            raise TokenUnavailable(
                f"invalid token in the file {str(self._path)!r}: {fault}", hint="Write the token into it, and no more."
            )
        return token


class StoredLogin:
    """The token that `tidings login` stored for a hub, which is read each time: a person may log in again.

    Args:
        path: The file.
    """

    name = "tidings login"
    renewable = True

    def __init__(self, path: Path) -> None:
        self._path = path

    async def fetch(self) -> str | None:
        """See `TokenSource.fetch`."""
        return self.read()

    def read(self) -> str | None:
        """See `TokenSource.read`."""
        return read_login(self._path)


class TokenFunction:
    """A function of the program that returns the token; each call may return another.

    Args:
        function: The function; it may be asynchronous.
        in_thread: Whether one that is not asynchronous runs on a thread of its own.
    """

    name = "the token function"
    renewable = True

    def __init__(self, function: Callable[[], "str | Awaitable[str | None] | None"], *, in_thread: bool = True) -> None:
        self._function = function
        self._in_thread = in_thread

    def __repr__(self) -> str:
        return "TokenFunction()"

    async def fetch(self) -> str | None:
        """See `TokenSource.fetch`. A function that is not asynchronous must not stop the loop: it may ask a server."""
        with _as_unavailable():
            here = inspect.iscoroutinefunction(self._function) or not self._in_thread
            result: Any = self._function() if here else await _call_in_thread(self._function)
            return _checked(await result if inspect.isawaitable(result) else result)

    def read(self) -> str | None:
        """See `TokenSource.read`. An asynchronous function runs in a loop of its own, on a thread of its own."""
        with _as_unavailable():
            result: Any = self._function()
            if inspect.isawaitable(result):
                with ThreadPoolExecutor(1) as executor:  # this thread may have a loop that runs
                    result = executor.submit(asyncio.run, _wait(result)).result()
            return _checked(result)


@contextlib.contextmanager
def _as_unavailable() -> Any:
    try:
        yield
    except (TokenUnavailable, asyncio.CancelledError):
        raise
    except Exception as error:
        # Without its text, which may hold the token.
        raise TokenUnavailable(
            f"the token function raised {type(error).__name__}", hint="Correct the function that is passed as `token`."
        ) from error


def _checked(token: object) -> str | None:
    if token is None:
        return None
    fault = _fault(token) if isinstance(token, str) else f"expected a str or None, not {type(token).__name__}"
    if fault:
        raise TokenUnavailable(f"the token function returned an invalid token: {fault}")
    return str(token)


async def _wait(result: Awaitable[Any]) -> Any:
    return await result


async def _call_in_thread(function: Callable[[], Any]) -> Any:
    """Call `function` on a daemon thread: executors refuse work, or delay the exit, when the process ends."""
    loop = asyncio.get_running_loop()
    called: asyncio.Future[Any] = loop.create_future()

    def settle(result: Any, error: Exception | None) -> None:
        if called.done():
            return
        if error is None:
            called.set_result(result)
        else:
            called.set_exception(error)

    def run() -> None:
        result: Any = None
        failure: Exception | None = None
        try:
            result = function()
        except StopIteration as error:  # no future accepts it
            failure = RuntimeError(type(error).__name__)
        except Exception as error:
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, result, failure)

    try:
        threading.Thread(target=run, name="tidings token", daemon=True).start()
    except RuntimeError:  # from Python 3.12 on, no thread starts once the interpreter runs its exit handlers
        return function()
    return await called


def find_token_source(
    token: Token | TokenSource | None,
    url: str,
    *,
    allow_plaintext: bool = False,
    environment: Mapping[str, str] | None = None,
) -> TokenSource | None:
    """Return where the token for the hub at `url` comes from; None if there is none.

    Args:
        token: What the program passed; "" means no token, whatever the environment holds.
        url: WebSocket URL of the hub.
        allow_plaintext: Whether the token may go over an unencrypted network.
        environment: Environment variables; by default the process's own.

    Raises:
        ConfigError: The token is invalid, or would go over an unencrypted network.
    """
    variables = os.environ if environment is None else environment
    source = _find(token, url, variables)
    if source is None or allow_plaintext or variables.get(PLAINTEXT_VARIABLE, "0") not in ("", "0"):
        return source
    if not url.startswith("wss:") and not is_loopback(url) and find_route(url) is None:
        raise ConfigError(
            f"the token for {authority(url)} would go over an unencrypted network (ws://)",
            option="token",
            source=source.name,
            hint="Use wss://; or, in a network that you trust, set TIDINGS_ALLOW_PLAINTEXT_TOKEN=1, "
            "pass --allow-plaintext-token, or allow_plaintext_token=True.",
        )
    return source


def _find(token: Token | TokenSource | None, url: str, environment: Mapping[str, str]) -> TokenSource | None:
    if isinstance(token, str):
        return FixedToken(token, "argument") if token else None
    if token is not None:
        # For a hub in memory time stands still between the steps of a test, also while a thread runs.
        return TokenFunction(token, in_thread=find_route(url) is None) if callable(token) else token
    if text := (environment.get(TOKEN_VARIABLE) or "").strip():
        return FixedToken(text, TOKEN_VARIABLE)
    if path := environment.get(TOKEN_FILE_VARIABLE):
        return TokenFile(Path(path), TOKEN_FILE_VARIABLE)
    login = find_login_file(url, environment)
    return None if login is None else StoredLogin(login)


def _fault(token: str) -> str:
    """Return what is wrong with a token; "" if nothing is. The token is not shown: others may read the error."""
    if not token:
        return "it is empty"
    if not token.isascii() or not token.isprintable() or " " in token:
        return "expected printable ASCII without spaces"
    return f"expected at most {_MAX_TOKEN_BYTES:,} bytes" if len(token) > _MAX_TOKEN_BYTES else ""


class _Claims(Struct, frozen=True):
    iss: str = ""
    sub: str = ""
    exp: float | None = None


def read_claims(token: str) -> _Claims | None:
    """Return what a JWT states about itself, without verifying it, which is the hub's part; None if it is no JWT."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        body = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        return msgspec.json.decode(body, type=_Claims)
    except (binascii.Error, ValueError, msgspec.DecodeError, RecursionError):
        return None


def describe_owner(token: str | None) -> str:
    """Return whose token it is, without any part of its secret: what an API key or a JWT states of itself.

    Returns:
        "" for no token, and `opaque` for one that states nothing.
    """
    if token is None:
        return ""
    if token.startswith(_API_KEY):
        return f"key {token.removeprefix(_API_KEY).partition('_')[0]}"
    claims = read_claims(token)
    return "opaque" if claims is None or not claims.sub else f"sub {claims.sub} of {claims.iss or 'no issuer'}"
