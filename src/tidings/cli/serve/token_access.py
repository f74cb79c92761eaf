"""Tokens and forward authentication in a served hub: authenticators that its options describe and a reload replaces."""

from collections.abc import Callable, Iterable
from pathlib import Path

from tidings.access.claims import GrantRules
from tidings.access.fetching import HttpFetcher, check_url
from tidings.access.forward_auth import ForwardAuthenticator
from tidings.access.jwks import RemoteKeys
from tidings.access.signing_keys import ALGORITHMS, check_algorithms, read_key_file, read_secret_file
from tidings.access.subjects import AccessRequest, Authenticated, Credential
from tidings.access.tokens import FixedKeys, KeySource, TokenAuthenticator, TokenPolicy
from tidings.cli.serve.settings import ServeSettings
from tidings.exceptions import ConfigError
from tidings.hub.clock import Clock
from tidings.log.base import Scheduler

_SOURCES = ("jwt_secret_file", "jwt_public_key", "jwks_url")


def make_policy(settings: ServeSettings) -> TokenPolicy:
    """Return the requirements on tokens that the options describe.

    Raises:
        ConfigError: An algorithm is unknown.
    """
    return TokenPolicy(
        issuers=settings.jwt_issuer,
        audiences=settings.jwt_audience,
        algorithms=check_algorithms(settings.jwt_algorithm or ALGORITHMS, option="jwt-algorithm"),
        leeway_s=settings.jwt_leeway,
        require_expiry=not settings.jwt_allow_no_expiry,
        name_claim=settings.jwt_subject_claim,
    )


class ServedTokens:
    """The authenticator of `--auth jwt`.

    Args:
        settings: The settings.
        channels: The channels of the contract.
        clock: The machine's clocks.
        withdrawn: Called when the issuer no longer publishes a key.

    Raises:
        ConfigError: An option is missing or wrong, or a key file cannot be used.
    """

    method = "token"
    generation = 0
    """See `LastingAuthenticator`: the hub calls `AccessControl.reevaluate` after each change."""

    def __init__(
        self, settings: ServeSettings, channels: Iterable[str], clock: Clock, withdrawn: Callable[[], object]
    ) -> None:
        self._withdrawn = withdrawn
        self._channels = tuple(channels)
        self._clock = clock
        self._scheduler: Scheduler | None = None
        self._remote: RemoteKeys | None = None
        self._remote_url = ""
        self._settings = settings
        self._current = self._make(settings)

    @property
    def files(self) -> tuple[Path, ...]:
        """Files of keys."""
        return tuple(each for each in (self._settings.jwt_secret_file, self._settings.jwt_public_key) if each)

    def start(self, scheduler: Scheduler) -> None:
        """Begin to fetch keys, if they come from a URL."""
        self._scheduler = scheduler
        if self._settings.jwks_url is not None:  # only these could not be had before
            self._current = self._make(self._settings)

    def reload(self, settings: ServeSettings) -> None:
        """Read keys, templates and requirements again.

        Raises:
            ConfigError: See the class; the old ones stay.
        """
        self._current = self._make(settings)
        self._settings = settings
        if self._remote is not None:
            self._remote.refresh()

    def accepts(self, credential: Credential) -> bool:
        """See `Authenticator.accepts`."""
        return self._current.accepts(credential)

    def authenticate(self, credential: Credential, request: AccessRequest, done: Authenticated) -> None:
        """See `Authenticator.authenticate`."""
        self._current.authenticate(credential, request, done)

    def _make(self, settings: ServeSettings) -> TokenAuthenticator:
        policy = make_policy(settings)
        rules = _make_rules(settings, self._channels)
        keys = self._find_keys(settings, policy.algorithms)
        return TokenAuthenticator(keys, policy, rules, wall_ns=self._clock.wall_ns)

    def _find_keys(self, settings: ServeSettings, algorithms: tuple[str, ...]) -> KeySource:
        given = [name for name in _SOURCES if getattr(settings, name) is not None]
        if len(given) != 1:
            problem = "several options name keys" if given else "no option names the keys that verify tokens"
            raise ConfigError(
                f"--auth jwt: {problem}",
                option="auth",
                source="auth",
                hint="Pass one of --jwt-secret-file, --jwt-public-key and --jwks-url.",
            )
        if settings.jwt_secret_file is not None:
            return FixedKeys(
                read_secret_file(
                    settings.jwt_secret_file, option="jwt-secret-file", algorithms=algorithms, reloads=True
                )
            )
        if settings.jwt_public_key is not None:
            return FixedKeys(
                read_key_file(settings.jwt_public_key, option="jwt-public-key", algorithms=algorithms, reloads=True)
            )
        return self._find_remote_keys(str(settings.jwks_url), algorithms)

    def _find_remote_keys(self, url: str, algorithms: tuple[str, ...]) -> KeySource:
        if self._scheduler is None:
            check_url(url, option="jwks-url")
            return FixedKeys(())  # until the hub starts
        if self._remote is not None and url == self._remote_url:
            return self._remote
        remote = RemoteKeys(
            url,
            HttpFetcher(),
            monotonic=self._clock.monotonic,
            scheduler=self._scheduler,
            algorithms=algorithms,
            withdrawn=self._withdrawn,
            option="jwks-url",
        )
        if self._remote is not None:
            self._remote.close()
        self._remote, self._remote_url = remote, url
        remote.start()
        return remote


class ServedForwardAuth:
    """The authenticator of `--auth forward`; see `ServedTokens`."""

    method = "forward"

    def __init__(self, settings: ServeSettings, channels: Iterable[str], clock: Clock) -> None:
        self._channels = tuple(channels)
        self._clock = clock
        self._current = self._make(settings)

    def reload(self, settings: ServeSettings) -> None:
        """Read the address and the templates again.

        Raises:
            ConfigError: They cannot be used; the old ones stay.
        """
        self._current = self._make(settings)

    def accepts(self, credential: Credential) -> bool:
        """See `Authenticator.accepts`."""
        return self._current.accepts(credential)

    def authenticate(self, credential: Credential, request: AccessRequest, done: Authenticated) -> None:
        """See `Authenticator.authenticate`."""
        self._current.authenticate(credential, request, done)

    def _make(self, settings: ServeSettings) -> ForwardAuthenticator:
        if settings.forward_auth_url is None:
            raise ConfigError(
                "--auth forward: no option names the server that identifies clients",
                option="auth",
                source="auth",
                hint="Pass --forward-auth-url, such as http://127.0.0.1:4180/oauth2/auth.",
            )
        return ForwardAuthenticator(
            settings.forward_auth_url,
            HttpFetcher(follow_redirects=False),  # a redirect leads to a page for people
            _make_rules(settings, self._channels),
            monotonic=self._clock.monotonic,
            wall_ns=self._clock.wall_ns,
            headers=_headers_of_claims(settings.forward_auth_header),
            option="forward-auth-url",
        )


def _headers_of_claims(options: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the headers that replace the default ones, by claim."""
    headers: dict[str, tuple[str, ...]] = {}
    for option in options:
        claim, _, header = option.partition("=")
        headers[claim] = (*headers.get(claim, ()), header)
    return headers


def _make_rules(settings: ServeSettings, channels: tuple[str, ...]) -> GrantRules:
    return GrantRules(channels, templates=settings.grant_template, option="grant-template")
