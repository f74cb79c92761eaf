"""The tokens that `tidings login` stores: a file for each hub, which only its user can read."""

import contextlib
import hashlib
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from tidings.client.url import origin
from tidings.exceptions import TokenUnavailable
from tidings.private_folder import make_private_folder

_FILE_MODE = 0o600


class Login(Struct, frozen=True, kw_only=True):
    """Contents of the file of one hub."""

    url: str
    """Address of the hub, without user name, password and query."""
    subject: str = ""
    """Subject of the token; "" if the hub named none."""
    token: str

    def __repr__(self) -> str:
        return f"Login(url={self.url!r}, subject={self.subject!r})"

    def __rich_repr__(self) -> "list[tuple[str, str]]":
        return [("url", self.url), ("subject", self.subject)]


def login_folder(environment: Mapping[str, str] | None = None) -> Path | None:
    """Return the folder of the files; None if the user has no home."""
    variables = os.environ if environment is None else environment
    if config := variables.get("XDG_CONFIG_HOME"):
        return Path(config) / "tidings" / "logins"
    home = Path(os.path.expanduser("~"))
    return home / ".config" / "tidings" / "logins" if home.is_absolute() else None


def hub_of(url: str) -> str:
    """Return the address of a hub under which a login is stored: scheme, host, port and path."""
    return f"{origin(url)}{urlsplit(url).path}"


def login_path(url: str, folder: Path) -> Path:
    """Return the file for the hub at `url`; named by a hash, as a URL may hold characters that no file name can."""
    return folder / f"{hashlib.sha256(hub_of(url).encode(errors='replace')).hexdigest()[:32]}.json"


def find_login_file(url: str, environment: Mapping[str, str] | None = None) -> Path | None:
    """Return the file for the hub at `url`; None if there is none."""
    folder = login_folder(environment)
    path = None if folder is None else login_path(url, folder)
    try:
        return path if path is not None and path.exists() else None
    except OSError:
        return None


def read_login(path: Path) -> str | None:
    """Return the token in a file; None if the file is gone.

    Raises:
        TokenUnavailable: It cannot be read, or others can read it.
    """
    try:
        # A named pipe without a writer must not keep a program waiting; reading it yields nothing.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0))) as file:
            status = os.fstat(file.fileno())
            data = file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise TokenUnavailable(
            f"cannot read the stored login {str(path)!r}: {error.strerror}", hint="Run `tidings login` again."
        ) from error
    if os.name == "posix" and stat.S_IMODE(status.st_mode) & 0o077:
        raise TokenUnavailable(
            f"other users can read the stored login {str(path)!r}",
            hint=f"Run `chmod 600 {path}`; if they may have read it, ask for another token.",
        )
    try:
        return msgspec.json.decode(data, type=Login).token or None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TokenUnavailable(
            f"the stored login {str(path)!r} is damaged", hint="Run `tidings login` again."
        ) from error


def store_login(login: Login, folder: Path) -> Path:
    """Write the file of a hub, in place of the one it has; return the file.

    Raises:
        OSError: It cannot be written.
    """
    make_private_folder(folder)
    path = login_path(login.url, folder)
    unfinished = path.with_suffix(f".{secrets.token_hex(4)}.new")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(login) + b"\n")
        unfinished.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise
    return path


def delete_login(url: str, folder: Path) -> bool:
    """Delete the file of the hub at `url`; return whether there was one.

    Raises:
        OSError: It cannot be deleted.
    """
    try:
        login_path(url, folder).unlink()
    except FileNotFoundError:
        return False
    return True
