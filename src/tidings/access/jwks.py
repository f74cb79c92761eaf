"""The keys of an issuer that publishes them as a JWK Set (RFC 7517 §5): fetched, kept, and replaced when they change.

The state machine has no I/O and no clock of its own. It fetches the set when it starts, again and again after that,
and when a token names a key that it does not have. While the server does not answer, the old keys stay valid for a
time. Until the first set is there, every token is refused with `authentication_unavailable`.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Final

from tidings.access.fetching import Fetch, HttpAnswer, check_url
from tidings.access.signing_keys import ALGORITHMS, SigningKey, UnusableKey, parse_keys
from tidings.access.tokens import KeysFound, TokenHeader, matching_keys
from tidings.exceptions import AccessError, AuthenticationUnavailable
from tidings.log.base import Scheduler

DEFAULT_REFRESH_S: Final = 600.0
"""Time between two fetches, in seconds: a key that its issuer withdraws is refused after it."""
DEFAULT_MAX_STALE_S: Final = 86_400.0
"""Time for which keys stay valid while the server does not answer, in seconds: providers announce a rotation a day
ahead."""
DEFAULT_COOLDOWN_S: Final = 30.0
"""Shortest time between two fetches for unknown keys, in seconds, so that forged tokens cause no flood: as in `jose`
(`cooldownDuration`, https://github.com/panva/jose)."""
_MIN_RETRY_S: Final = 1.0
_MAX_RETRY_S: Final = 60.0
MAX_WAITING: Final = 1_000
"""Tokens that wait for a fetch; further ones are refused with `authentication_unavailable`."""
_UNKNOWN: Final = "the hub does not know the key of the token, and asks the issuer again within half a minute"
_ACCEPT: Final = {"accept": "application/jwk-set+json, application/json"}

logger = logging.getLogger(__name__)


class RemoteKeys:
    """A `tidings.access.tokens.KeySource` over a JWK Set at a URL.

    Args:
        url: Address of the set.
        fetch: Sends requests.
        monotonic: Returns seconds of a clock that never goes back.
        scheduler: The event loop.
        algorithms: Algorithms that keys may have; those with a secret are left out, because a published secret is none.
        refresh_s: See `DEFAULT_REFRESH_S`.
        max_stale_s: See `DEFAULT_MAX_STALE_S`.
        cooldown_s: See `DEFAULT_COOLDOWN_S`.
        withdrawn: Called when a key is no longer in the set: the hub refuses the tokens that it signed.
        option: Name of the option with the URL, for errors.

    Raises:
        ConfigError: The URL is not an `https://` address (or `http://` of this machine).
    """

    def __init__(
        self,
        url: str,
        fetch: Fetch,
        *,
        monotonic: Callable[[], float],
        scheduler: Scheduler,
        algorithms: Iterable[str] = ALGORITHMS,
        refresh_s: float = DEFAULT_REFRESH_S,
        max_stale_s: float = DEFAULT_MAX_STALE_S,
        cooldown_s: float = DEFAULT_COOLDOWN_S,
        withdrawn: Callable[[], object] | None = None,
        option: str = "jwks_url",
    ) -> None:
        self._withdrawn = withdrawn
        self._url = check_url(url, option=option)
        self._fetch = fetch
        self._monotonic = monotonic
        self._scheduler = scheduler
        self._algorithms = tuple(name for name in algorithms if not name.startswith("HS"))
        self._refresh_s = refresh_s
        self._max_stale_s = max_stale_s
        self._cooldown_s = cooldown_s
        self._keys: tuple[SigningKey, ...] = ()
        self._fetched_at = 0.0
        self._asked_for_key_at: float | None = None
        """Time of the last fetch for an unknown key."""
        self._absent: set[int] = set()
        """Hashes of the headers of tokens that waited for the newest set, which has no key for them."""
        self._removed: tuple[SigningKey, ...] = ()
        """Keys that the newest set has no longer."""
        self._is_fetching = False
        self._waiting: list[tuple[TokenHeader, KeysFound]] = []
        self._timer = 0
        """Number of the newest timer; older ones do nothing."""
        self._is_closed = False
        self.failures = 0
        """Fetches that failed since the last one that succeeded."""
        self.failures_total = 0
        """Fetches that failed."""

    def start(self) -> None:
        """Fetch the keys for the first time, and again and again from then on. To be called on the event loop."""
        self._ask()

    def close(self) -> None:
        """Stop fetching; tokens that wait are refused."""
        self._is_closed = True
        self._answer_waiting()

    def refresh(self) -> None:
        """Fetch the keys now."""
        self._ask()

    @property
    def is_usable(self) -> bool:
        """Whether tokens can be verified: there are keys, and they are not too old."""
        return bool(self._keys) and self._monotonic() - self._fetched_at <= self._max_stale_s

    def find(self, header: TokenHeader, found: KeysFound) -> None:
        """See `KeySource.find`."""
        keys = self._match(header)
        if not isinstance(keys, AccessError):
            found(keys)
        elif self._is_fetching:
            self._wait(header, found)
        elif not self._may_have(header, keys) or self._is_known_to_lack(header):
            found(keys)
        elif self._asked_for_key_at is None or self._monotonic() - self._asked_for_key_at >= self._cooldown_s:
            self._asked_for_key_at = self._monotonic()
            self._wait(header, found)
            self._ask()
        else:  # a refusal ends a client, and the key may be newer than the set
            found(AuthenticationUnavailable(_UNKNOWN, hint="Try again: the issuer may have rotated its keys."))

    def _wait(self, header: TokenHeader, found: KeysFound) -> None:
        if len(self._waiting) >= MAX_WAITING:
            found(_unavailable())
        else:
            self._waiting.append((header, found))

    def _match(self, header: TokenHeader) -> tuple[SigningKey, ...] | AccessError:
        found = matching_keys(self._keys, header) if self.is_usable else _unavailable()
        if isinstance(found, AccessError) and self.failures and header.algorithm in self._algorithms:
            return _unavailable()  # the set that the server does not send may have the key
        return found

    def _may_have(self, header: TokenHeader, error: AccessError) -> bool:
        """Return whether a set of the issuer, which answers, may have the key of a token."""
        # While the server does not answer, the timer asks it; a token does not.
        is_away = self._is_closed or isinstance(error, AuthenticationUnavailable)
        return not is_away and header.algorithm in self._algorithms

    def _is_known_to_lack(self, header: TokenHeader) -> bool:
        """Return whether a fetch a short time ago showed that the issuer has no key for a token."""
        if self._monotonic() - self._fetched_at >= self._cooldown_s:
            return False
        return hash(header) in self._absent or not isinstance(matching_keys(self._removed, header), AccessError)

    def _ask(self) -> None:
        if self._is_fetching or self._is_closed:
            return
        self._is_fetching = True
        self._fetch(self._url, _ACCEPT, self._fetched)

    def _fetched(self, answer: HttpAnswer | AuthenticationUnavailable) -> None:
        self._is_fetching = False
        before = self._keys
        try:
            self._keys = self._parse(answer)
        except (AuthenticationUnavailable, UnusableKey) as error:
            self._note_failure(str(error))
        else:
            if self.failures:
                logger.info("the JWK Set at %s answers again, after %d failures", self._url, self.failures)
            self.failures = 0
            self._fetched_at = self._monotonic()
            self._removed = tuple(key for key in before if key not in self._keys)
            self._absent = {hash(header) for header, _ in self._waiting if isinstance(self._match(header), AccessError)}
            self._schedule(self._refresh_s)
        self._answer_waiting()
        if self._withdrawn is not None and any(key not in self._keys for key in before):
            self._withdrawn()

    def _parse(self, answer: HttpAnswer | AuthenticationUnavailable) -> tuple[SigningKey, ...]:
        if isinstance(answer, AuthenticationUnavailable):
            raise answer
        if answer.status != 200:
            raise AuthenticationUnavailable(f"the status is {answer.status}, and not 200")
        return parse_keys(answer.body, self._algorithms)

    def _note_failure(self, reason: str) -> None:
        self.failures += 1
        self.failures_total += 1
        delay_s = min(_MIN_RETRY_S * 2 ** min(self.failures - 1, 10), _MAX_RETRY_S)
        logger.warning(
            "the JWK Set at %s cannot be fetched: %s; the next attempt is in %g s, and %s",
            self._url,
            reason,
            delay_s,
            "the old keys stay valid" if self.is_usable else "until then no token can be verified",
        )
        self._schedule(delay_s)

    def _schedule(self, delay_s: float) -> None:
        self._timer += 1
        number = self._timer
        self._scheduler.call_later(delay_s, lambda: self._ask() if number == self._timer else None)

    def _answer_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for header, found in waiting:
            try:
                found(self._match(header))
            except Exception:  # the others wait, too
                logger.exception("a token could not be judged")


def _unavailable() -> AuthenticationUnavailable:
    return AuthenticationUnavailable("the keys of the issuer, with which tokens are verified, cannot be fetched now")
