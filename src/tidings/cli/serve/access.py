"""How `tidings serve` identifies clients: the authenticators of its `--auth` options, and the reload of their files."""

import sys
from collections.abc import Callable
from pathlib import Path

import structlog
from msgspec import Struct

from tidings.access.audit import AuditAction, AuditOutcome, AuditTrail
from tidings.access.control import MAX_CREDENTIAL_LIFE_S, AccessControl, AccessOptions
from tidings.access.key_file import KeyFile, LoadedKeys
from tidings.access.keys import ApiKey, ApiKeyAuthenticator
from tidings.access.private_files import write_private
from tidings.access.sign_in import SignInPages
from tidings.access.subjects import Authenticator
from tidings.cli.serve.settings import ServeSettings
from tidings.cli.serve.shared_keys import SharedKeyChanges, SharedKeys
from tidings.contract.contract import Contract
from tidings.exceptions import ConfigError, InvalidKeyFile, LimitExceeded, TidingsError
from tidings.hub.clock import Clock
from tidings.hub.hub import Hub
from tidings.log.base import Scheduler
from tidings.log.replicated import ReplicatedLog
from tidings.log.revocations import EVER_NS, Revocation
from tidings.protocol.codes import error_data
from tidings.protocol.timestamps import to_nanoseconds

KEY_CHECK_S = 0.5
"""Interval at which the file of API keys is looked at, in seconds: a revoked key ends its sessions within a second."""
USED_KEYS_S = 60.0
"""Interval at which the times of last use are stored, in seconds."""
MAX_SHARED_KEYS = 50
"""Keys that are revoked in the log of several nodes at each look at the file: each one is a commit."""
ADMIN_KEY_FILE = "admin-key"
"""File beside the keys that holds the first key, where no terminal can show it."""
_ADMIN = "admin"
_OPTIONS_OF = {
    "keys": ("keys",),
    "jwt": ("jwt_secret_file", "jwt_public_key", "jwks_url", "jwt_issuer", "jwt_audience", "jwt_algorithm"),
    "forward": ("forward_auth_url", "forward_auth_header"),
}
"""The options that configure one method of `--auth`."""

log = structlog.get_logger("tidings.serve")


class Reloadable(Struct, frozen=True):
    """A part that is read again at SIGHUP."""

    name: str
    reload: Callable[[], None]
    files: tuple[Path, ...] = ()
    """Files whose change leads to a reload, too; empty where the part watches them itself."""


def check_methods(settings: ServeSettings) -> None:
    """Check that every option about authentication belongs to a method of `--auth`: alone, it protects nothing.

    Raises:
        ConfigError: One does not.
    """
    stray = [(method, name) for method, names in _OPTIONS_OF.items() if method not in settings.auth for name in names]
    if not settings.auth:
        stray += [("jwt", "grant_template"), ("keys", "auth_cookie")]
        stray += [("forward", "sign_in_url"), ("forward", "sign_out_url")]
    for method, name in stray:
        if getattr(settings, name):
            option = name.replace("_", "-")
            raise ConfigError(
                f"--{option} has no effect without --auth {method}",
                option=option,
                source="auth",
                hint=f"Add --auth {method} (TIDINGS_AUTH), or remove --{option} (TIDINGS_{name.upper()}).",
            )


def _warn_of_failure(result: Revocation | TidingsError) -> None:
    if isinstance(result, TidingsError):
        log.warning("the log does not have the revocation of a key: other nodes may accept it", error=str(result))


class ServedAccess:
    """The authentication of one hub, as its settings describe it.

    Args:
        settings: The settings; `auth` is not empty.
        contract: The contract, whose channels grants are about.
        clock: The machine's clocks.
        reread: Returns the settings as they are now.

    Raises:
        ConfigError: An option is missing or wrong, or a file cannot be used.
    """

    def __init__(
        self, settings: ServeSettings, contract: Contract, clock: Clock, reread: Callable[[], ServeSettings]
    ) -> None:
        self._settings = settings
        self._channels = contract.channels
        self._clock = clock
        self._reread = reread
        self._pages = SignInPages(sign_in_url=settings.sign_in_url or "", sign_out_url=settings.sign_out_url or "")
        self._hub: Hub | None = None
        self._control: AccessControl | None = None
        self._audit: AuditTrail | None = None
        self._first_key: str | None = None
        self._keys: LoadedKeys | None = None
        self._check_key: Callable[[ApiKey], None] | None = None
        self._shared_keys: SharedKeys | None = None
        """The keys of other nodes; None for a hub of one machine, whose processes read one file."""
        self._revoked: list[ApiKey] = []
        """Keys that may have to be revoked in the log."""
        self._requests: Authenticator | None = None
        self._authenticators: list[Callable[[Scheduler], Authenticator]] = []
        self.reloadable: list[Reloadable] = []
        """The parts that SIGHUP reads again."""
        for method in dict.fromkeys(settings.auth):
            {"keys": self._add_keys, "jwt": self._add_tokens, "forward": self._add_forward_auth}[method]()

    def options(self, scheduler: Scheduler) -> AccessOptions:
        """Return the options of the hub that runs on `scheduler`."""
        return AccessOptions(
            authenticators=[make(scheduler) for make in self._authenticators],
            requests=self._requests,
            cookie=self._settings.auth_cookie or "",
            max_life_s=self._find_max_life_s(),
            pages=self._pages,
        )

    def _find_max_life_s(self) -> float | None:
        """Return the longest life of a credential; None where there are keys, or tokens without an expiry."""
        if "keys" in self._settings.auth or self._settings.jwt_allow_no_expiry:
            return None
        return MAX_CREDENTIAL_LIFE_S + self._settings.jwt_leeway

    def started(self, hub: Hub) -> None:
        """Create the first key if there is none, and follow the files of a hub that has started.

        Raises:
            InvalidKeyFile: The first key cannot be stored.
        """
        self._hub = hub
        self._control = hub.access
        self._audit = hub.audit
        if self._keys is None:
            return
        if self._settings.log is not None and isinstance(hub.log, ReplicatedLog) and self._check_key is not None:
            self._shared_keys = SharedKeys(
                hub, hub.log, self._keys, check=self._check_key, changed=self._shared_keys_changed
            )
            hub.jobs.start("shared API keys", KEY_CHECK_S, self._shared_keys.look)
        self._create_first_key(self._keys)
        self._find_revoked()
        hub.jobs.start("revoked API keys", KEY_CHECK_S, self._share_revoked)
        hub.jobs.start("API keys", KEY_CHECK_S, self._follow_keys)
        hub.jobs.start("use of API keys", USED_KEYS_S, self._keys.save_used)

    def stopped(self) -> None:
        """Store when keys were last used."""
        if self._keys is not None:
            self._keys.save_used()

    # API keys.

    def _add_keys(self) -> None:
        path = self._settings.key_file
        if path is None:
            raise ConfigError(
                "--auth keys: a hub without a data folder needs a file for the keys",
                option="keys",
                source="auth",
                hint="Pass --keys FILE, or --data DIR.",
            )
        authenticator = ApiKeyAuthenticator(self._channels, self._clock.wall_ns, self._follow_keys)
        self._keys = LoadedKeys(KeyFile(path), authenticator)
        self._check_key = authenticator.check_grants
        if path.exists():
            self._keys.load()  # a file that cannot be used is found before the port is taken
        self._authenticators.append(lambda scheduler: authenticator)
        self.reloadable.append(Reloadable("API keys", self._reload_keys))

    def _create_first_key(self, keys: LoadedKeys) -> None:
        if keys.path.exists():
            return  # it may be read-only, and so its folder
        if self._shared_keys is not None and self._shared_keys.has_live_grant(_ADMIN):
            log.info("the other nodes have an admin key: none is created", keys=str(keys.path))
            return
        made = KeyFile(keys.path).add(_ADMIN, (_ADMIN,), now_ns=self._clock.wall_ns(), first=True)
        if made is None:
            return
        text = made[1]
        keys.load()
        if sys.stderr.isatty():
            self._first_key = text
            return
        # Whatever else reads stderr stores it: a journal, the log of a container, a file.
        file = keys.path.with_name(ADMIN_KEY_FILE)
        try:
            write_private(file, f"{text}\n".encode())
        except OSError as cause:
            keys.path.unlink()
            raise InvalidKeyFile(
                f"cannot store the first key in {file}: {cause.strerror or cause}",
                hint="Make the folder writable for the hub, or create a key first: `tidings key add admin --grant "
                "admin`.",
            ) from cause
        log.warning(
            "the first admin key was created",
            file=str(file),
            hint=f"Store it in a safe place and delete the file; until then, TIDINGS_TOKEN_FILE={file} uses it.",
        )

    def take_first_key_notice(self, url: str) -> str | None:
        """Return the first key with its use, for the terminal and this once; None if there is none to show."""
        key, self._first_key = self._first_key, None
        if key is None:
            return None
        return (
            f"\nThis is the first admin key. It is shown only now:\n\n    {key}\n\n"
            f"Store it for your commands with `tidings login {url}`, which asks for it,\n"
            "and add a key for each program with `tidings key add NAME --grant GRANT` (docs/access.md).\n"
        )

    def _reload_keys(self) -> None:
        assert self._keys is not None
        before = {key.id: key for key in self._keys.keys}
        self._keys.load()
        if self._shared_keys is not None:
            self._shared_keys.file_changed(before)
        for key in self._keys.keys:
            known = before.pop(key.id, None)
            if known is None or known.revoked != key.revoked:
                change = "added" if key.revoked is None else "revoked"
                self._record("key", "accepted", subject=key.name, key_id=key.id, change=change)
        for key in before.values():
            self._record("key", "accepted", subject=key.name, key_id=key.id, change="removed")
        self._find_revoked()
        if self._control is not None:
            self._control.reevaluate()

    def _shared_keys_changed(self, changes: SharedKeyChanges) -> None:
        assert self._keys is not None
        own = {key.id for key in self._keys.keys}  # recorded when the file was read
        for change, keys in (("added", changes.added), ("edited", changes.edited), ("removed", changes.removed)):
            for key in keys:
                if key.id not in own:
                    name = change if key.revoked is None else "revoked"
                    self._record("key", "accepted", subject=key.name, key_id=key.id, change=name, part="other nodes")
        if changes.edited or changes.removed:  # no session has a key that is new
            self._reevaluate()

    def _find_revoked(self) -> None:
        """Find the keys that the file revokes: the log that other nodes share must revoke them, too."""
        if self._hub is None or self._keys is None or not isinstance(self._hub.log, ReplicatedLog):
            return
        self._revoked = [key for key in self._keys.keys if key.revoked is not None]
        self._share_revoked()

    def _share_revoked(self) -> None:
        """Revoke the next keys in the log, which stores each revocation by itself."""
        assert self._hub is not None
        now_ns, known = self._hub.now_ns(), self._hub.log.revocations
        shared = 0
        while self._revoked and shared < MAX_SHARED_KEYS:
            key = self._revoked.pop()
            until_ns = None if key.expires is None else to_nanoseconds(key.expires)
            is_expired = until_ns is not None and until_ns <= now_ns
            if is_expired or known.find("credential", key.id) is not None:
                continue
            shared += 1
            revocation = Revocation(kind="credential", name=key.id, issued_before_ns=EVER_NS, kept_until_ns=until_ns)
            try:
                self._hub.log.revoke(revocation, _warn_of_failure)
            except LimitExceeded as error:
                _warn_of_failure(error)

    def _record(self, action: AuditAction, outcome: AuditOutcome, *, subject: str = "", **facts: str) -> None:
        if self._audit is not None:
            self._audit.record(action, outcome, subject=subject, **facts)

    def _follow_keys(self) -> None:
        assert self._keys is not None
        if not self._keys.has_changed():
            return
        try:
            self._reload_keys()
        except TidingsError as error:
            self._record("reload", "refused", part="API keys", code=error.code)
            log.error(
                "the changed API keys are refused: the old ones stay in use",
                code=error.code,
                error=str(error),
                hint=error_data(error).hint,
            )
        else:
            log.info("API keys reloaded", file=str(self._keys.path), keys=len(self._keys))

    # Tokens.

    def _add_tokens(self) -> None:
        from tidings.cli.serve.token_access import ServedTokens  # loads a library that other hubs do not need

        tokens = ServedTokens(self._settings, self._channels, self._clock, self._reevaluate)

        def start(scheduler: Scheduler) -> Authenticator:
            tokens.start(scheduler)
            return tokens

        self._authenticators.append(start)
        self._add_reload("keys and templates of tokens", tokens.reload, tokens.files)

    def _reevaluate(self) -> None:
        if self._control is not None:
            self._control.reevaluate()

    def _add_forward_auth(self) -> None:
        from tidings.cli.serve.token_access import ServedForwardAuth

        self._requests = forward = ServedForwardAuth(self._settings, self._channels, self._clock)
        self._add_reload("forward authentication", forward.reload)

    def _add_reload(self, name: str, reload: Callable[[ServeSettings], None], files: tuple[Path, ...] = ()) -> None:
        def reload_now() -> None:
            reload(self._reread())
            if self._control is not None:
                self._control.reevaluate()

        self.reloadable.append(Reloadable(name, reload_now, files))
