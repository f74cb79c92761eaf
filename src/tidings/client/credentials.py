"""The tokens of one link: which one it sends next, and whether another try makes sense."""

from tidings.client.close_reason import CloseReason
from tidings.client.tokens import TokenSource, describe_owner
from tidings.exceptions import SignedOut, TidingsError, Unauthenticated

_MAX_FIRST_REFUSALS = 3
"""Tokens that are tried before the hub has accepted one: a function may have cached one that has just expired."""


class Credentials:
    """Takes tokens from their source, and remembers those that the hub refused.

    Args:
        source: Where they come from; None if there are none.
        wait: Whether to wait for another token after a refusal.
    """

    def __init__(self, source: TokenSource | None, *, wait: bool) -> None:
        self.owner = ""
        """Owner of the token that was sent last, without its secret; see `describe_owner`."""
        self._source = source
        self._wait = wait
        self._sent: str | None = None
        self._refused: str | None = None
        self._refusal: TidingsError | None = None
        self._refusals = 0

    @property
    def renewable(self) -> bool:
        """Whether there may be another token later."""
        return self._source is not None and self._source.renewable

    async def next(self) -> str | None:
        """Return the token for a new connection; None if there are none.

        Raises:
            TokenUnavailable: It cannot be obtained now.
            SignedOut: Its source no longer has one.
            TidingsError: The hub has refused this token before, for this reason.
        """
        if self._source is None:
            return None
        token = await self._source.fetch()
        if token is None:
            raise SignedOut(f"{self._source.name} no longer has a token")
        if self._refusal is not None and token == self._refused:
            raise self._refusal
        return self._note(token)

    async def first(self) -> str:
        """Return the token for a connection on which the hub asks for one.

        Raises:
            Unauthenticated: There is none.
            TidingsError: As `next`.
        """
        token = await self.next()
        if token is None:
            raise Unauthenticated(
                "the hub asks for a token",
                hint="Set TIDINGS_TOKEN or TIDINGS_TOKEN_FILE, run `tidings login`, or pass token=. "
                "Under `tidings run`, pass --pass-token.",
            )
        return token

    async def another(self) -> str | None:
        """Return another token than the one that is in use; None if there is none yet. Raises as `next`."""
        before = self._sent
        token = await self.next() if self.renewable or before is None else None
        return None if token == before else token

    def forget_sent(self) -> None:
        """Count the token in use as another one: it is to be sent again."""
        self._sent = None

    def admitted(self) -> None:
        """Note that the hub has accepted the token."""
        self._refusals = 0

    def refused(self, reason: CloseReason, *, admitted: bool) -> bool:
        """Note that the hub has refused the token; return whether to connect again if there is another.

        Args:
            reason: How the connection ended.
            admitted: Whether the hub has ever let this client in.
        """
        if self._sent is not None:
            self._refused, self._refusal = self._sent, reason.error
        self._refusals += 1
        return self.renewable and (admitted or self._wait or self._refusals < _MAX_FIRST_REFUSALS)

    def is_final(self, error: TidingsError) -> bool:
        """Return whether an error of `next` or `first` ends the link."""
        return isinstance(error, SignedOut | Unauthenticated) or (error is self._refusal and not self._wait)

    def _note(self, token: str) -> str:
        self._sent = token
        self.owner = describe_owner(token)
        return token
