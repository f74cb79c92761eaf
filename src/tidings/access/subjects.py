"""Subjects, the credentials that identify them, and the verification of credentials."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Final, Literal, Protocol, runtime_checkable

from msgspec import Struct

from tidings.access.grants import Grants
from tidings.exceptions import AccessError
from tidings.log.newest import SEPARATOR
from tidings.protocol.timestamps import from_nanoseconds

MAX_CREDENTIAL_BYTES: Final = 16 << 10
"""Size of a credential: HTTP servers accept heads of 8 to 16 KiB, and identity providers keep their tokens below."""
RESERVED_SUBJECTS: Final = ("none", "required")
"""Values of `auth` in `connection:established` that are not subjects."""
API_KEY_PREFIX: Final = "tdk_"
"""Prefix of the API keys of tidings: it distinguishes them from a JWT, and scanners for secrets find it."""

CredentialSource = Literal["header", "message", "cookie", "ticket", "request"]
"""Where a credential came from: `Authorization`, `auth:token`, a cookie, a single-use ticket in the URL, or the request
as a whole, which a server or the application identifies."""


class Credential(Struct, frozen=True):
    """A secret that a client sent. Its value appears in no log and no error."""

    value: str
    source: CredentialSource

    def __repr__(self) -> str:
        return f"Credential(source={self.source!r})"


class AccessRequest(Struct, frozen=True, kw_only=True):
    """The known facts about a request, a handshake or a message, from which its sender is identified."""

    headers: Mapping[str, str] = {}
    """Headers by lower-case name."""
    address: str = ""
    """Address of the client, behind trusted proxies its own; "" if it is not known."""
    method: str = "GET"
    path: str = ""
    host: object = None
    """The request of the application that a hub is mounted in (an ASGI scope); None in a standalone hub."""


class Subject(Struct, frozen=True, kw_only=True, dict=True):
    """Someone whom the hub has identified: a person, a service or a program."""

    name: str
    """1–255 printable characters: the `sub` of a token, or the name of an API key."""
    grants: Grants
    expires_ns: int | None = None
    """Until when the hub accepts the credential, in nanoseconds since 1970; None if it does not expire."""
    leeway_ns: int = 0
    """Part of that time by which the clocks may differ: the credential states an earlier expiry."""
    issued_ns: int | None = None
    """When it was issued; None if that is not known."""
    credential_id: str = ""
    """Id of the token (`jti`) or of the API key, by which it is revoked."""

    @property
    def stated_expiry(self) -> str | None:
        """The expiry that the credential states, RFC 3339, as the hub shows it; None if it does not expire."""
        return None if self.expires_ns is None else from_nanoseconds(self.expires_ns - self.leeway_ns)

    @cached_property
    def scope(self) -> str:
        """Namespace of the event ids that it publishes without a producer."""
        return self.name + SEPARATOR

    def qualify(self, producer_id: str) -> str:
        """Return the id that the hub uses for a producer of this subject: no other subject has an equal one."""
        return f"{self.name}{SEPARATOR}{producer_id}"

    def unqualify(self, producer_id: str) -> str | None:
        """Return the id of a producer as its own subject uses it; None for that of another subject."""
        own = self.scope
        return producer_id.removeprefix(own) if producer_id.startswith(own) else None


Authenticated = Callable[[Subject | AccessError], None]
"""Called once with the subject of a credential, or with the reason why there is none."""


class Authenticator(Protocol):
    """Verifies one kind of credentials."""

    method: str
    """Name in `auth:required`: `token`, `key`, `cookie`."""

    def accepts(self, credential: Credential) -> bool:
        """Return whether `credential` looks like one of this kind."""

    def authenticate(self, credential: Credential, request: AccessRequest, done: Authenticated) -> None:
        """Verify `credential`; `done` is called within the call, or later if something must be fetched."""


@runtime_checkable
class LastingAuthenticator(Authenticator, Protocol):
    """An authenticator whose answers depend on the credential only, and last until `generation` changes."""

    generation: int
    """Number that changes whenever a credential that was accepted may be refused, except for its expiry."""
