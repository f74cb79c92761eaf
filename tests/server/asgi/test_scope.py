import pytest
from starlette.types import Scope

from tidings.access.origins import Origins
from tidings.access.proxies import TrustedProxies
from tidings.access.request_check import RequestCheck
from tidings.hub.connection_query import read_values
from tidings.server.asgi.scope import address_of, admit, headers_of, query_of, request_address, route_path


@pytest.mark.parametrize("written", ["name=café+crème%21", "name=caf%C3%A9%20cr%C3%A8me!"])
def test_query_may_have_bytes_that_are_not_encoded(written: str) -> None:
    scope: Scope = {"query_string": written.encode()}
    assert read_values(query_of(scope), ["name"]) == {"name": ["café crème!"]}


def test_query_may_be_absent() -> None:
    assert query_of({}) == ""


@pytest.mark.parametrize(
    ("path", "route", "base"),
    [
        ("/hub/v1/events", "/v1/events", "/hub/app"),
        ("/hub", "/", "/hub/app"),
        ("/v1/events", "/v1/events", "/hub/app"),
        ("/hubs/v1", "/hubs/v1", "/hub/app"),
    ],
)
def test_prefix_of_a_proxy_is_removed_or_left(path: str, route: str, base: str) -> None:
    check = RequestCheck(Origins(check_host=False), TrustedProxies(["10.0.0.0/8"]))
    scope: Scope = {
        "scheme": "ws",
        "path": f"/app{path}",
        "root_path": "/app",
        "client": ("10.1.2.3", 4711),
        "headers": [
            (b"host", b"events.example"),
            (b"x-forwarded-prefix", b"/hub/"),
            (b"x-forwarded-proto", b"https"),
            (b"x-forwarded-for", b"192.0.2.7"),
        ],
    }
    admitted = admit(scope, check, headers_of(scope))
    assert route_path(admitted) == route
    assert address_of(admitted) == ("s", "events.example", base)
    assert request_address(admitted).client == "192.0.2.7"
    foreign = admit({**scope, "client": ("192.0.2.1", 4711)}, check, headers_of(scope))
    assert address_of(foreign) == ("", "events.example", "/app")
    assert request_address(foreign).client == "192.0.2.1"
