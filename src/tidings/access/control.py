"""Access control: the verification of credentials, and the end of sessions whose credentials do not count any more.

A caller passes a credential and gets a subject. A connection that stays open is a session: its credential is verified
again when keys, roles or revocations change.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

import structlog
from msgspec import Struct, structs

from tidings.access.credentials import ask_for_credential
from tidings.access.quotas import FailureLimit, Quota, network_of
from tidings.access.recent import FamiliarCredentials, RecentCredentials
from tidings.access.rechecks import Rechecks
from tidings.access.sessions import AccessSession, OpenSessions, guarded
from tidings.access.sign_in import SignInPages
from tidings.access.subjects import (
    MAX_CREDENTIAL_BYTES,
    RESERVED_SUBJECTS,
    AccessRequest,
    Authenticated,
    Authenticator,
    Credential,
    LastingAuthenticator,
    Subject,
)
from tidings.access.tickets import Ticket, TicketFound, Tickets
from tidings.exceptions import (
    AccessError,
    AuthenticationUnavailable,
    CredentialRevoked,
    InvalidCredential,
    InvalidTicket,
    InvalidToken,
    TokenExpired,
    TokenTooLarge,
    TooManyFailures,
    Unauthenticated,
)
from tidings.log.base import Scheduler
from tidings.log.revocations import RevocationTable

DEFAULT_DEADLINE_S: Final = 10.0
"""Time for the first `auth:token` of a connection, in seconds: a browser may have to fetch the token first."""
MAX_FAILURES: Final = 50
"""Invalid credentials that may come from one address at a time: a proxy, or a network behind one address, has many
clients. No one guesses a token of 128 bits or more; the limit bounds the work, and the log lines."""
FAILURES_PER_S: Final = 1.0
"""How many more may come each second."""
MAX_CREDENTIAL_LIFE_S: Final = 366 * 86_400.0
"""Longest life of a token, in seconds: a revocation is kept until the last token that it concerns has expired."""
DEFAULT_RECHECK_S: Final = 60.0
"""Time after which the sender of an open session is identified again, in seconds: nothing reports a sign-out."""
_RETRY_MS: Final = 5_000
"""Minimum time until a client that was refused for the sessions of its subject tries again, in milliseconds."""
MAX_VERIFICATION_S: Final = 15.0
"""Time for the verification of one credential, in seconds: beyond the time limit of one request to another server. Also
an application's own function that never answers leaves no client waiting."""
MAX_TICKETS_ASKED: Final = 16
"""Tickets for which the other processes are asked at a time although too many invalid credentials came from the
address: each question costs all processes time, and with several machines a place in the journal."""
MAX_SUBJECT_CHARS: Final = 255

_CREDENTIALS: Final = {"key": "API keys, as `tidings key add` prints them", "token": "JWTs"}
"""Credentials that a client may send, by the method of an authenticator."""

REQUEST_AS_A_WHOLE: Final = Credential("", "request")
"""The credential of a request that has none of its own."""

NOTHING_YET: Final = Credential("", "message")
"""Stands for the credential of a connection that must send one: its request as a whole does not count."""

Redeemed = Callable[[tuple[Credential, AccessRequest] | AccessError], object]
"""Called with a credential that is not a ticket and the request to identify, or with the reason of a refusal."""

log = structlog.get_logger("tidings.access")


class AccessOptions(Struct, frozen=True, kw_only=True):
    """How a hub identifies its clients."""

    authenticators: Sequence[Authenticator]
    """Verify credentials; the first that accepts a credential decides."""
    deadline_s: float = DEFAULT_DEADLINE_S
    """Time for the first `auth:token` of a connection, in seconds."""
    cookie: str = ""
    """Name of a cookie of the hub's own origin that may hold a credential; "" for none."""
    max_failures: int = MAX_FAILURES
    """Invalid credentials that may come from one address at a time; 0 for no limit."""
    requests: Authenticator | None = None
    """Identifies requests as a whole, by their cookies for example: those without a credential, and those whose
    credential none of `authenticators` accepts."""
    max_life_s: float | None = None
    """Longest life of a credential, in seconds, for which a revocation must be kept; None if there are credentials that
    never expire."""
    recheck_s: float = DEFAULT_RECHECK_S
    """Time after which `requests` identifies the sender of an open session again, in seconds."""
    pages: SignInPages = SignInPages()
    """Where people sign in, if another server does that."""


def _codes(error: type[AccessError]) -> Iterator[str]:
    yield error.code
    for kind in error.__subclasses__():
        yield from _codes(kind)


_OUTCOMES: Final = (
    "accepted",
    *_codes(InvalidCredential),
    Unauthenticated.code,
    TooManyFailures.code,
    AuthenticationUnavailable.code,
)
"""Outcomes that are counted from 0: a rate is computed from two values, so a series that begins with its first event
does not show that one."""


class AccessControl:
    """Identifies clients, and ends their sessions in time.

    Args:
        options: The authenticators and limits.
        wall_ns: Returns nanoseconds since 1970.
        monotonic: Returns seconds of a clock that never goes back.
        scheduler: The event loop.
        revocations: The credentials that no longer count.
        max_sessions: Sessions that one subject may have; 0 for no limit.
    """

    def __init__(
        self,
        options: AccessOptions,
        *,
        wall_ns: Callable[[], int],
        monotonic: Callable[[], float],
        scheduler: Scheduler,
        revocations: RevocationTable,
        max_sessions: int = 0,
    ) -> None:
        self._authenticators = tuple(options.authenticators)
        self._requests = options.requests
        self._max_life_s = options.max_life_s
        self._outcomes: Counter[str] = Counter(dict.fromkeys(_OUTCOMES, 0))
        self._revocations = revocations
        self.recent = RecentCredentials(wall_ns, scheduler)
        """The credentials that were accepted in the last seconds."""
        self._familiar = FamiliarCredentials()
        self.tickets = Tickets(monotonic)
        """The unused tickets."""
        self._tickets_asked = 0
        self.cookie = options.cookie
        """Name of the cookie that may hold a credential, or ""."""
        self.subjects = Quota(
            max_sessions, "connections of this subject", hint="Share one connection.", retry_after_ms=_RETRY_MS
        )
        """Sessions by subject."""
        self.failures = FailureLimit(options.max_failures, FAILURES_PER_S, lambda: wall_ns() / 1e9)
        """Invalid credentials by network."""
        self._wall_ns = wall_ns
        self._scheduler = scheduler
        self.deadline_s = options.deadline_s
        self.methods = list(dict.fromkeys(each.method for each in self._authenticators))
        """Names of the accepted kinds of credentials, for `auth:required`."""
        self.request_methods = [] if options.requests is None else [options.requests.method]
        """Names of what identifies requests as a whole."""
        self.pages = options.pages
        """Where people sign in."""
        self.waiting_requests: set[Callable[[], None]] = set()
        """Requests whose credential is being verified: each is called to give up."""
        self.changes = 0
        """How often credentials may have lost their rights: by revocations, and by changed keys or roles."""
        self._sessions = OpenSessions(wall_ns, scheduler, self._end)
        self._rechecks = Rechecks(
            options.recheck_s, wall_ns=wall_ns, scheduler=scheduler, sessions=self._sessions, verify=self._recheck
        )

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def identifies_requests(self) -> bool:
        """Whether a request without a credential may have a subject all the same."""
        return self._requests is not None

    def drain(self) -> None:
        """Let the requests give up whose credential is being verified: its server may take longer than the drain."""
        for give_up in list(self.waiting_requests):
            give_up()

    # Credentials.

    def authenticate(
        self, credential: Credential | None, request: AccessRequest, done: Authenticated, *, renews: bool = False
    ) -> None:
        """Identify the sender of `request`; `done` is called once, within the call or later. Never raises.

        Args:
            credential: The credential; None if the request has none.
            request: The request.
            done: Called with the subject, or with the reason of a refusal.
            renews: Whether the sender is identified already, or has a ticket: failures of others at the same address do
                not matter.
        """
        credential = credential or REQUEST_AS_A_WHOLE
        network = network_of(request.address)
        done = partial(self._count, network, credential, done)
        try:
            self._check_failures(network)
        except TooManyFailures as error:
            # Someone behind the same address must not lock out others: those who were let in before, and those whose
            # credential the hub verifies by itself, in less time than the request takes.
            if not renews and credential not in self._familiar:
                if not self._lasts(credential):
                    done(error)
                    return
                done = partial(_unless_invalid, error, done)
        self.verify_again(credential, request, done)

    def verify_again(self, credential: Credential, request: AccessRequest, done: Authenticated) -> None:
        """Identify a sender who was identified before, as `authenticate` does.

        It is not an attempt to guess: it counts towards no limit, and no limit of its address stops it.
        """
        try:
            authenticator = self._find(credential)
        except Unauthenticated:
            done(ask_for_credential(request.headers))
            return
        except AccessError as error:
            done(error)
            return
        verified = _Once(partial(self._check, done))
        try:
            authenticator.authenticate(credential, request, verified)
        except AccessError as error:
            verified(error)
        except Exception:  # an authenticator's fault must not let anyone in, nor stop others
            log.exception("an authenticator failed", method=authenticator.method)
            verified(AuthenticationUnavailable("the credential cannot be verified now"))
        if not verified.called:
            late = AuthenticationUnavailable(f"the credential was not verified within {MAX_VERIFICATION_S:g} s")
            self._scheduler.call_later(MAX_VERIFICATION_S, partial(verified, late))

    @property
    def outcomes(self) -> Counter[str]:
        """How many credentials were accepted (`accepted`), or refused, by the code of the error."""
        outcomes = self._outcomes.copy()
        outcomes["accepted"] += self.recent.found
        return outcomes

    def remember(self, authorization: bytes, credential: Credential, subject: Subject, changes: int) -> None:
        """Note in `recent` that a credential was accepted, if its authenticator's answers last.

        Args:
            authorization: The header that it came in.
            credential: The credential.
            subject: Its subject.
            changes: `changes` when its verification began.
        """
        if changes == self.changes:
            authenticator = self._find(credential)
            if isinstance(authenticator, LastingAuthenticator):
                self.recent.add(authorization, credential, subject, authenticator, changes)

    def redeem(self, credential: Credential, request: AccessRequest, done: Redeemed) -> None:
        """Replace a ticket by the credential that it stands for, and use the ticket; pass on any other credential.

        Args:
            credential: The credential.
            request: The request that brought it.
            done: Called once, within the call or later, with the credential and the request to identify: the one that
                asked for the ticket, if its sender was identified by the request as a whole, such as by its cookies.
                InvalidTicket, if the ticket is not valid; TooManyFailures, if too many invalid credentials came from
                the address of `request`.
        """
        if credential.source != "ticket":
            done((credential, request))
            return
        network = network_of(request.address)

        def found(ticket: Ticket | InvalidTicket) -> None:
            if isinstance(ticket, InvalidTicket):
                self.failures.count(network)
                done(ticket)
            else:
                own = ticket.credential == REQUEST_AS_A_WHOLE
                done((ticket.credential, ticket.request if own else request))

        try:
            self._check_failures(network)
        except TooManyFailures as error:
            # Someone behind the same address must not lock out those who were let in, and got a ticket.
            if self._tickets_asked >= MAX_TICKETS_ASKED:
                ticket = self.tickets.take(credential.value)
                if ticket is None:
                    done(error)
                else:
                    found(ticket)
                return
            self._tickets_asked += 1
            self.tickets.redeem(credential.value, partial(self._ticket_asked, partial(done, error), found))
            return
        self.tickets.redeem(credential.value, found)

    def _ticket_asked(self, refuse: Callable[[], object], found: TicketFound, ticket: Ticket | InvalidTicket) -> None:
        self._tickets_asked -= 1
        if isinstance(ticket, InvalidTicket):
            refuse()
        else:
            found(ticket)

    def _check_failures(self, network: str) -> None:
        retry_after_ms = self.failures.retry_after_ms(network)
        if retry_after_ms:
            raise TooManyFailures("too many invalid credentials came from this address", retry_after_ms=retry_after_ms)

    def _count(self, network: str, credential: Credential, done: Authenticated, result: Subject | AccessError) -> None:
        self._outcomes[result.code if isinstance(result, AccessError) else "accepted"] += 1
        if isinstance(result, InvalidCredential):
            self.failures.count(network)
            self._familiar.discard(credential)
        elif isinstance(result, Subject) and credential.value:
            self._familiar.add(credential)
        done(result)

    def _find(self, credential: Credential) -> Authenticator:
        if not credential.value:
            if self._requests is None:
                raise Unauthenticated("this hub asks for a credential")
            return self._requests
        if len(credential.value.encode(errors="surrogatepass")) > MAX_CREDENTIAL_BYTES:
            raise TokenTooLarge(f"the credential is too long; {MAX_CREDENTIAL_BYTES:,} bytes are allowed")
        for authenticator in self._authenticators:
            if authenticator.accepts(credential):
                return authenticator
        if self._requests is not None and self._requests.accepts(credential):
            return self._requests
        raise InvalidToken(
            "unknown kind of credential",
            hint=f"This hub accepts {' and '.join(_CREDENTIALS.get(each, each) for each in self.methods)}."
            if self.methods
            else "This hub accepts no credentials.",
        )

    def _lasts(self, credential: Credential) -> bool:
        try:
            return isinstance(self._find(credential), LastingAuthenticator)
        except AccessError:
            return False

    def _check(self, done: Authenticated, result: Subject | AccessError) -> None:
        done(self._judge(result) if isinstance(result, Subject) else result)

    def _is_revoked(self, subject: Subject) -> bool:
        find = self._revocations.find
        found = find("subject", subject.name), find("credential", subject.credential_id)
        return any(revocation is not None and revocation.covers(subject.issued_ns) for revocation in found)

    def _judge(self, subject: Subject) -> Subject | AccessError:
        name = subject.name
        if name in RESERVED_SUBJECTS:
            return InvalidToken(f"invalid subject {name!r}: this name is reserved", hint="Choose another name.")
        if not (1 <= len(name) <= MAX_SUBJECT_CHARS and name.isprintable()):
            return InvalidToken(f"invalid subject: expected 1–{MAX_SUBJECT_CHARS} printable characters")
        if subject.expires_ns is not None and subject.expires_ns <= self._wall_ns():
            return TokenExpired("the credential has expired")
        if self._is_revoked(subject):
            return CredentialRevoked("the credential was revoked")
        return subject

    # Sessions.

    def sessions(self, after: int = -1) -> Iterator[tuple[int, AccessSession]]:
        """Yield the open sessions and their numbers, those after a number, the oldest first."""
        return self._sessions.after(after)

    def check_room(self, subject: Subject | None) -> None:
        """Check that `subject` may have one more session.

        Raises:
            TooManyRequests: It has as many as it may.
        """
        if subject is not None:
            self.subjects.check(subject.name)

    def enter(self, session: AccessSession, changes: int | None = None) -> None:
        """Watch over `session`, whose subject and credential are set; also after it has got another credential.

        Args:
            session: The session.
            changes: `changes` when its subject was identified, if that was earlier: what changed since is made up for.
        """
        self.leave(session)
        self.subjects.count(session.subject.name)
        number = self._sessions.add(session)
        if changes is not None and changes != self.changes:
            self._sessions.visit(self._verify_again, number)
        if self._requests is not None and self._finds_requests(session.credential):
            self._rechecks.add(number)

    def leave(self, session: AccessSession) -> None:
        """Forget `session`, which has ended."""
        if self._sessions.remove(session):
            self.subjects.release(session.subject.name)  # a session never changes its subject's name

    def _end(self, session: AccessSession, error: AccessError) -> None:
        self.leave(session)
        guarded(partial(session.ended, error))

    # Changes.

    def kept_until_ns(self, now_ns: int) -> int | None:
        """Return until when a revocation of now is needed: no credential of today lives longer; None for forever."""
        return None if self._max_life_s is None else now_ns + int(self._max_life_s * 1e9)

    def end_revoked(self) -> None:
        """End the sessions whose credentials are revoked now, in slices."""
        self.changes += 1
        self.recent.clear()
        self._sessions.visit(self._end_if_revoked)

    def reevaluate(self) -> None:
        """Verify the credentials of all sessions again, in slices: keys or roles have changed."""
        self.changes += 1
        self.recent.clear()
        self._sessions.visit(self._verify_again)

    def _finds_requests(self, credential: Credential) -> bool:
        return not credential.value or not any(each.accepts(credential) for each in self._authenticators)

    def _recheck(self, number: int) -> bool:
        session = self._sessions.get(number)
        if session is None:
            return False
        self._verify_again(number, session)
        return True

    def _end_if_revoked(self, number: int, session: AccessSession) -> None:
        if self._is_revoked(session.subject):
            self._end(session, CredentialRevoked("the credential was revoked"))

    def _verify_again(self, number: int, session: AccessSession) -> None:
        self._end_if_revoked(number, session)
        if number in self._sessions:
            self.verify_again(session.credential, session.request, partial(self._verified_again, number))

    def _verified_again(self, number: int, result: Subject | AccessError) -> None:
        session = self._sessions.get(number)
        if session is None:
            return
        if isinstance(result, AuthenticationUnavailable):
            # An outage takes no rights; but a server that had too much to do must not leave a sign-out unnoticed.
            self._rechecks.retry(number)
            return
        if isinstance(result, AccessError):
            self._end(session, result)
        elif result.name != session.subject.name:
            self._end(session, InvalidCredential("the credential belongs to another subject now"))
        elif structs.replace(result, issued_ns=session.subject.issued_ns) != session.subject:
            guarded(partial(session.reauthorized, result))


def _unless_invalid(error: TooManyFailures, done: Authenticated, result: Subject | AccessError) -> None:
    """Pass on an answer about a credential; one that is not valid is not worth another answer than `error`."""
    done(error if isinstance(result, InvalidCredential) else result)


class _Once:
    """Calls a function once, however often an authenticator answers."""

    __slots__ = ("_done",)

    def __init__(self, done: Authenticated) -> None:
        self._done: Authenticated | None = done

    @property
    def called(self) -> bool:
        """Whether the answer came."""
        return self._done is None

    def __call__(self, result: Subject | AccessError) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(result)
