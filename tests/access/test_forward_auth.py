from collections.abc import Iterable, Mapping
from typing import Any

import pytest
import structlog.testing
from tests.access.tokens import CHANNELS

from tidings.access import forward_auth
from tidings.access.claims import GrantRules
from tidings.access.fetching import Answered, HttpAnswer
from tidings.access.forward_auth import ForwardAuthenticator
from tidings.access.subjects import AccessRequest, Credential, Subject
from tidings.exceptions import AccessError, AuthenticationUnavailable, ConfigError, InvalidToken
from tidings.testing.clock import ManualClock

URL = "https://auth.example/api/authz/forward-auth"
RULES = GrantRules(CHANNELS, templates=["read operations/{user}.*", "admin if groups=admins"], grants_claim="")
FROM_REQUEST = Credential("", "request")
AUTHELIA = {"remote-user": "ada", "remote-groups": "dev, admins", "remote-email": "ada@example.com"}
OAUTH2_PROXY = {"x-auth-request-user": "bob", "x-auth-request-groups": "dev"}


class Server:
    """An authentication server whose answers a test gives."""

    def __init__(self) -> None:
        self.requests: list[Mapping[str, str]] = []
        self.asked: list[Answered] = []

    def __call__(self, url: str, headers: Mapping[str, str], answered: Answered, /) -> None:
        assert url == URL
        self.requests.append(headers)
        self.asked.append(answered)

    def answer(
        self, status: int = 200, headers: Mapping[str, str] | None = None, *, ambiguous: Iterable[str] = ()
    ) -> None:
        self.asked.pop(0)(HttpAnswer(status, headers or {}, b"", frozenset(ambiguous)))


class World:
    def __init__(self, **options: Any) -> None:
        self.clock = ManualClock()
        self.server = Server()
        self.checker = ForwardAuthenticator(
            URL, self.server, RULES, monotonic=self.clock.monotonic, wall_ns=self.clock.wall_ns, **options
        )

    def ask(
        self, credential: Credential = FROM_REQUEST, path: str = "/ws", address: str = "192.0.2.7", **headers: str
    ) -> list[Subject | AccessError]:
        results: list[Subject | AccessError] = []
        request = AccessRequest(headers={"host": "hub.example", **headers}, address=address, path=path)
        self.checker.authenticate(credential, request, results.append)
        return results


@pytest.mark.parametrize(
    ("headers", "name", "admin"), [(AUTHELIA, "ada", True), (OAUTH2_PROXY, "bob", False)], ids=["Authelia", "oauth2"]
)
def test_identity_comes_from_the_headers_of_the_answer(headers: Mapping[str, str], name: str, admin: bool) -> None:
    world = World()
    result = world.ask(cookie="session=secret")
    world.server.answer(headers=headers)
    (subject,) = result
    assert isinstance(subject, Subject)
    assert (subject.name, subject.grants.admin) == (name, admin)
    assert subject.grants.may_read("operations", f"{name}.1")
    sent = world.server.requests[0]
    assert sent["cookie"] == "session=secret"
    assert sent["x-forwarded-uri"] == "/ws"
    assert sent["x-original-url"] == "https://hub.example/ws"
    assert sent["x-forwarded-for"] == "192.0.2.7"
    assert "authorization" not in sent


def test_tokens_of_messages_and_headers_are_passed_on() -> None:
    world = World()
    world.ask(Credential("abc", "message"), cookie="a=b")
    world.ask(Credential("def", "header"), authorization="Bearer def")
    world.ask(authorization="Basic eA==")
    assert [sent["authorization"] for sent in world.server.requests] == ["Bearer abc", "Bearer def", "Basic eA=="]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "unauthenticated"),
        (302, "unauthenticated"),
        (403, "forbidden"),
        (400, "authentication_unavailable"),  # of Authelia if it cannot read the URL, of nginx if the cookies are long
        (431, "authentication_unavailable"),
        (404, "authentication_unavailable"),
        (429, "authentication_unavailable"),
        (500, "authentication_unavailable"),
        (503, "authentication_unavailable"),
        (200, "authentication_unavailable"),  # no header names the user
    ],
)
def test_every_other_answer_is_a_refusal(status: int, code: str) -> None:
    world = World()
    result = world.ask(cookie="a=b")
    world.server.answer(status, {} if status == 200 else AUTHELIA)
    (error,) = result
    assert isinstance(error, AccessError)
    assert error.code == code


@pytest.mark.parametrize("name", ["", "a\x07b", "x" * 256])
def test_user_name_that_is_not_printable_lets_no_one_in(name: str) -> None:
    world = World()
    result = world.ask(cookie="a=b")
    world.server.answer(headers={"remote-user": name})
    assert isinstance(result[0], AuthenticationUnavailable)


def test_several_names_let_no_one_in_and_several_groups_are_a_list() -> None:
    world = World()
    names = world.ask(cookie="a=b")
    world.server.answer(headers={"remote-user": "ada, root"}, ambiguous=["remote-user"])
    assert isinstance(names[0], AuthenticationUnavailable)
    groups = world.ask(cookie="a=b")
    world.server.answer(headers=AUTHELIA, ambiguous=["remote-groups"])
    assert isinstance(groups[0], Subject)
    assert groups[0].grants.admin


def test_answers_that_cannot_be_used_are_logged_once_and_are_no_outage() -> None:
    world = World()
    answers = [(200, {"remote-user": "a\x07b"}), (400, {}), (200, AUTHELIA)]
    with structlog.testing.capture_logs() as logs:
        for number in range(9):
            world.ask(cookie=f"a={number}")
            status, headers = answers[number % 3]
            world.server.answer(status, headers)
    assert [(entry["event"], entry["reason"]) for entry in logs] == [
        (
            "an answer of the authentication server cannot be used",
            "no header of remote-user, x-auth-request-user, x-forwarded-user names one user",
        ),
        ("an answer of the authentication server cannot be used", "the status is 400"),
    ]


@pytest.mark.parametrize("value", ["a\r\n Remote-User: root", "a\nb", "a\x00b", "\u20ac", "\xe9"])
def test_token_that_no_header_can_have_is_refused(value: str) -> None:
    """No outage, which would be logged: a client chooses the value."""
    world = World()
    result = world.ask(Credential(value, "message"), cookie="a=b")
    assert isinstance(result[0], InvalidToken)
    assert world.server.requests == []


def test_name_in_utf8_is_decoded() -> None:
    world = World()
    result = world.ask(cookie="a=b")
    world.server.answer(headers={"remote-user": "Zoë".encode().decode("latin-1")})
    assert isinstance(result[0], Subject)
    assert result[0].name == "Zoë"


def test_request_without_anything_to_pass_is_not_asked_about() -> None:
    world = World()
    (error,) = world.ask()
    assert isinstance(error, AccessError)
    assert (error.code, world.server.requests) == ("unauthenticated", [])


def test_equal_requests_are_asked_about_together_and_remembered() -> None:
    world = World(cache_s=10.0)
    together = [world.ask(cookie="a=b") for _ in range(10)]
    other = world.ask(cookie="a=c")
    assert len(world.server.requests) == 2
    world.server.answer(headers=AUTHELIA)
    world.server.answer(401)
    assert {result[0].name for result in together if isinstance(result[0], Subject)} == {"ada"}
    assert isinstance(other[0], AccessError)
    world.clock.advance(9.9)
    assert isinstance(world.ask(cookie="a=b")[0], Subject)
    assert isinstance(world.ask(cookie="a=c")[0], AccessError)
    assert world.ask(cookie="a=b", path="/v1/operations") == []
    world.clock.advance(0.2)
    assert world.ask(cookie="a=b") == []
    assert len(world.server.requests) == 4


def test_outage_is_reported_once_and_not_remembered() -> None:
    world = World()
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            result = world.ask(cookie="secret=1")
            world.server.asked.pop(0)(AuthenticationUnavailable("connection refused"))
            assert isinstance(result[0], AuthenticationUnavailable)
        result = world.ask(cookie="secret=1")
        world.server.answer(headers=AUTHELIA)
    assert isinstance(result[0], Subject)
    assert [entry["event"] for entry in logs] == [
        "the authentication server does not work",
        "the authentication server works again",
    ]
    assert "secret" not in str(logs)


def test_cache_and_waiting_requests_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward_auth, "MAX_CACHED", 2)
    monkeypatch.setattr(forward_auth, "MAX_WAITING", 3)
    world = World()
    waiting = [world.ask(cookie=f"a={number}") for number in range(4)]
    assert waiting[:3] == [[], [], []]
    assert isinstance(waiting[3][0], AuthenticationUnavailable)
    for _ in range(3):
        world.server.answer(headers=AUTHELIA)
    assert len(world.server.requests) == 3
    assert world.ask(cookie="a=0") == [], "the oldest is forgotten"
    assert isinstance(world.ask(cookie="a=2")[0], Subject)


def test_one_address_takes_only_a_share_of_the_waiting_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward_auth, "MAX_WAITING_OF_ADDRESS", 2)
    world = World()
    flood = [world.ask(cookie=f"a={number}") for number in range(3)]
    assert [len(results) for results in flood] == [0, 0, 1]
    assert isinstance(flood[2][0], AuthenticationUnavailable)
    assert world.ask(cookie="session=ada", address="192.0.2.8") == []
    world.server.answer(401)
    assert world.ask(cookie="a=3") == [], "an answer makes room"


def test_cache_holds_no_secrets() -> None:
    world = World()
    world.ask(cookie="session=very-secret", authorization="Bearer very-secret")
    world.server.answer(headers=AUTHELIA)
    assert "very-secret" not in repr(vars(world.checker))


def test_headers_and_name_are_configurable() -> None:
    world = World(headers={"user": ("X-Employee",), "groups": ("X-Teams",)})
    result = world.ask(cookie="a=b")
    world.server.answer(headers={"x-employee": "e-7", "x-teams": "admins", "remote-user": "forged"})
    assert isinstance(result[0], Subject)
    assert (result[0].name, result[0].grants.admin) == ("e-7", True)
    with pytest.raises(ConfigError, match="no header holds"):
        World(name_claim="badge")
    with pytest.raises(ConfigError) as caught:
        ForwardAuthenticator(
            "http://auth.example/", Server(), RULES, monotonic=ManualClock().monotonic, wall_ns=ManualClock().wall_ns
        )
    assert caught.value.option == "forward_auth_url"


def test_api_keys_are_left_to_their_authenticator() -> None:
    checker = World().checker
    assert not checker.accepts(Credential("tdk_a_b", "header"))
    assert checker.accepts(FROM_REQUEST)
