"""An authenticator for tests: a table of tokens, which answers within the call or later."""

from collections.abc import Callable

from tidings.access.control import AccessOptions
from tidings.access.grants import Grants
from tidings.access.subjects import AccessRequest, Authenticated, Credential, Subject
from tidings.contract.event_types import BUILTIN, list_channels
from tidings.exceptions import AccessError, InvalidToken
from tidings.testing.clock import ManualClock

CHANNELS = list_channels(BUILTIN)


def grants(*texts: str) -> Grants:
    return Grants.parse(texts, CHANNELS)


class TokenTable:
    """See `tidings.access.subjects.Authenticator`.

    Args:
        wall_ns: The clock of `expires_s`.
    """

    method = "token"

    def __init__(self, wall_ns: Callable[[], int] | None = None) -> None:
        self.subjects: dict[str, Subject | AccessError] = {}
        self.wall_ns = wall_ns or ManualClock().wall_ns
        self.requests: list[tuple[Credential, AccessRequest]] = []
        self.waiting: list[tuple[Credential, Authenticated]] | None = None
        """What `answer` answers later; None answers within the call."""

    @property
    def options(self) -> AccessOptions:
        return AccessOptions(authenticators=[self])

    def add(
        self, token: str, *texts: str, name: str = "", expires_s: float | None = None, issued_s: float = 0.0
    ) -> str:
        """Add or change a token, issued `issued_s` seconds ago; its credential id is the token."""
        now_ns = self.wall_ns()
        self.subjects[token] = Subject(
            name=name or token,
            grants=grants(*texts),
            expires_ns=None if expires_s is None else now_ns + int(expires_s * 1e9),
            issued_ns=now_ns - int(issued_s * 1e9),
            credential_id=token,
        )
        return token

    def accepts(self, credential: Credential) -> bool:
        return not credential.value.startswith("tdk_")

    def authenticate(self, credential: Credential, request: AccessRequest, done: Authenticated) -> None:
        self.requests.append((credential, request))
        if self.waiting is None:
            done(self._find(credential))
        else:
            self.waiting.append((credential, done))

    def answer(self) -> None:
        """Answer what waits."""
        waiting, self.waiting = self.waiting or [], []
        for credential, done in waiting:
            done(self._find(credential))

    def _find(self, credential: Credential) -> Subject | AccessError:
        return self.subjects.get(credential.value) or InvalidToken("unknown token")
