import pytest
from tests.cli.http_servers import http_server
from tests.cli.processes import Hub

from tidings.cli.hub_http import HubAPI
from tidings.exceptions import CommandRefused, ConfigError, HubUnreachable, NotAHub, OperationUnknown


def test_who_does_not_answer_is_unreachable() -> None:
    with HubAPI("ws://127.0.0.1:1/ws") as api, pytest.raises(HubUnreachable) as caught:
        api.names(None)
    assert str(caught.value) == "no hub answers at 127.0.0.1:1: connection refused"


@pytest.mark.parametrize(
    ("body", "status", "error", "message"),
    [
        (b"<html>", 200, NotAHub, "is no hub of this version"),
        (b"\xff", 200, NotAHub, "is no hub of this version"),
        (b"not found", 404, NotAHub, "status 404"),
        (b"bad gateway", 502, HubUnreachable, "a proxy at .* answers 502"),
        (
            b'{"code": "operation_unknown", "message": "no such", "recoverable": false}',
            404,
            OperationUnknown,
            "no such",
        ),
        (b'{"code": "log_busy", "message": "busy", "recoverable": true}', 503, CommandRefused, "busy"),
    ],
)
def test_what_answers_otherwise_is_told(body: bytes, status: int, error: type[Exception], message: str) -> None:
    with http_server(body, status) as url, HubAPI(url) as api, pytest.raises(error, match=message):
        api.operation("x")


def test_an_id_may_hold_anything(shared_hub: Hub) -> None:
    for id in ("a/b", "a b?c#d", "ü/%2F", "x/cancel"):
        with HubAPI(shared_hub.url) as api:
            with pytest.raises(OperationUnknown) as caught:
                api.operation(id)
            assert repr(id) in str(caught.value)


def test_an_id_longer_than_an_address_can_be_is_told(shared_hub: Hub) -> None:
    with HubAPI(shared_hub.url) as api, pytest.raises(ConfigError):
        api.operation("x" * 100_000)


def test_the_token_of_the_environment_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDINGS_TOKEN", "secret")
    with HubAPI("http://127.0.0.1:1") as api:
        assert api._http.headers["authorization"] == "Bearer secret"
    monkeypatch.setenv("TIDINGS_TOKEN", "se cret")
    with pytest.raises(ConfigError):
        HubAPI("http://127.0.0.1:1")
