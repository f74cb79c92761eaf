import pytest
from starlette.types import Scope

from tidings.hub.connection_query import read_values
from tidings.server.asgi.scope import address_of, query_of


@pytest.mark.parametrize("written", ["name=café+crème%21", "name=caf%C3%A9%20cr%C3%A8me!"])
def test_query_may_have_bytes_that_are_not_encoded(written: str) -> None:
    scope: Scope = {"query_string": written.encode()}
    assert read_values(query_of(scope), ["name"]) == {"name": ["café crème!"]}


def test_query_may_be_absent() -> None:
    assert query_of({}) == ""


@pytest.mark.parametrize(
    ("prefix", "path"),
    [
        (b"/hub", "/hub/app"),
        (b"/a/hub/", "/a/hub/app"),
        (b"//evil.example", "/app"),
        (b"/<script>", "/app"),
        (b"", "/app"),
    ],
)
def test_address_has_the_prefix_that_a_proxy_removed(prefix: bytes, path: str) -> None:
    headers = [(b"host", b"events.example"), (b"x-forwarded-prefix", prefix)]
    scope: Scope = {"scheme": "https", "root_path": "/app", "headers": headers}
    assert address_of(scope) == ("s", "events.example", path)
