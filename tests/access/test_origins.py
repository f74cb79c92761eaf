import pytest

from tidings.access.origins import Origins, is_loopback
from tidings.exceptions import ConfigError, OriginRefused, RequestError


def allowed(origins: Origins, origin: str | None, host: str | None) -> bool:
    try:
        origins.check(origin, host)
    except OriginRefused:
        return False
    return True


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8765", "localhost:8765", "[::1]:8765", "hub.localhost", "LOCALHOST:1", None]
)
def test_request_without_origin_is_allowed(host: str | None) -> None:
    assert allowed(Origins(), None, host)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://127.0.0.1:8765", "127.0.0.1:8765"),
        ("http://localhost:8765", "localhost:8765"),
        ("http://LocalHost:8765", "localhost:8765"),
        ("http://localhost", "localhost:80"),
        ("https://localhost:443", "localhost"),
        ("http://[::1]:8765", "[::1]:8765"),
    ],
)
def test_page_of_the_hubs_own_origin_is_allowed(origin: str, host: str) -> None:
    assert allowed(Origins(), origin, host)


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "http://localhost:5173",
        "http://localhost:87650",
        "http://127.0.0.1.evil.example:8765",
        "https://127.0.0.1",
        "null",
        "",
        "127.0.0.1:8765",
        "http://evil.example, http://127.0.0.1:8765",
    ],
)
def test_page_of_another_origin_is_refused(origin: str) -> None:
    assert not allowed(Origins(), origin, "127.0.0.1:8765")
    assert not allowed(Origins(check_host=False), origin, "127.0.0.1:8765")


def test_rebound_host_name_is_refused_even_as_own_origin() -> None:
    rebound = "evil.example:8765"
    assert not allowed(Origins(), f"http://{rebound}", rebound)
    assert not allowed(Origins(), None, rebound)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8765.evil.example",
        "localhost:8765:1",
        "localhost:x",
        "[::1]evil.example",
        "[::1]:8765.evil.example",
        "[evil.example]",
        "evil.example/127.0.0.1",
        "user@localhost",
        "localhost, evil.example",
        "localhost evil.example",
    ],
)
def test_host_that_is_no_name_and_port_is_refused(host: str) -> None:
    with pytest.raises(RequestError, match="invalid Host") as caught:
        Origins().check(None, host)
    assert caught.value.code == "bad_request"


@pytest.mark.parametrize(
    ("site", "mode", "dest", "method", "expected"),
    [
        (None, None, None, "POST", True),
        ("none", "navigate", "document", "GET", True),
        ("same-origin", "no-cors", "script", "GET", True),
        ("cross-site", "navigate", "document", "GET", True),
        ("cross-site", "navigate", None, "HEAD", True),
        ("cross-site", "navigate", "iframe", "GET", False),
        ("cross-site", "navigate", "document", "POST", False),
        ("same-site", "navigate", "document", "DELETE", False),
        ("cross-site", "no-cors", "image", "GET", False),
        ("same-site", "no-cors", "empty", "POST", False),
        ("cross-site", None, None, "GET", False),
        ("cross-site", "cors", "empty", "OPTIONS", False),
        ("cross-site", "websocket", "websocket", "GET", False),
    ],
)
def test_request_of_another_page_is_refused(
    site: str | None, mode: str | None, dest: str | None, method: str, expected: bool
) -> None:
    def served(origins: Origins, origin: str | None) -> bool:
        try:
            origins.check_fetch(origin, site, mode, dest, method=method)
        except OriginRefused:
            return False
        return True

    assert served(Origins(["https://app.example.com"]), None) is expected
    assert served(Origins(["https://app.example.com"]), "https://app.example.com"), "a listed origin may"
    assert served(Origins(["*"]), None)
    if site in ("cross-site", "same-site"):
        assert not served(Origins(), "https://app.example.com"), "its name may be the hub's, over another scheme"


def test_refusal_hints_at_the_origin_to_allow() -> None:
    with pytest.raises(OriginRefused, match=r"evil\.example") as caught:
        Origins().check("https://evil.example", "127.0.0.1")
    assert "--allow-origin https://evil.example" in caught.value.hint
    assert caught.value.origin == "https://evil.example"


def test_name_of_the_hub_is_allowed_and_no_other() -> None:
    origins = Origins(hosts=["Hub.Example.com", "hub"])
    assert allowed(origins, "https://hub.example.com", "hub.example.com")
    assert allowed(origins, None, "HUB.example.com.:8765")
    assert allowed(origins, None, "hub:8765")
    for name in ("www.hub.example.com", "example.com", "hub.example.com.evil.example"):
        assert not allowed(origins, None, name)
    assert allowed(Origins(hosts=["*"]), None, "anything.example")


def test_refusal_hints_at_the_name_to_allow() -> None:
    with pytest.raises(OriginRefused, match="unknown host name") as caught:
        Origins().check(None, "hub.example.com:8765")
    assert caught.value.hint.endswith("--allow-host hub.example.com")


@pytest.mark.parametrize("name", ["", "hub:8765", "https://hub", "[::1]", "a b", "*.example.com"])
def test_invalid_host_name_raises(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Origins(hosts=[name])
    assert caught.value.option == "allow-host"


def test_host_check_is_off_for_an_application_with_its_own() -> None:
    assert allowed(Origins(check_host=False), "https://app.example.com", "app.example.com")


def test_listed_origin_is_allowed_and_may_read() -> None:
    origins = Origins(["https://App.example.com:443/", "http://localhost:5173"])
    assert allowed(origins, "https://app.example.com", "127.0.0.1:8765")
    assert allowed(origins, "http://localhost:5173", "127.0.0.1:8765")
    assert allowed(origins, None, "app.example.com"), "behind a proxy that passes the name on"
    assert origins.is_listed("https://app.example.com")
    assert not origins.is_listed("http://127.0.0.1:8765")
    assert not allowed(origins, "https://app.example.com.evil.example", "127.0.0.1:8765")


def test_star_allows_every_page() -> None:
    origins = Origins(["*"])
    assert allowed(origins, "http://evil.example", "evil.example:8765")
    assert origins.is_listed("http://evil.example")


def test_null_allows_pages_without_an_origin() -> None:
    assert allowed(Origins(["null"]), "null", "127.0.0.1:8765")


@pytest.mark.parametrize(
    "listed",
    ["app.example.com", "https://", "https://a.example/path", "https://a.example:port", "http://u@a.example", ""],
)
def test_invalid_listed_origin_raises(listed: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Origins([listed])
    assert caught.value.option == "allow-origin"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("10.0.0.1", False),
        ("testserver", False),
        ("/run/hub.sock", False),
    ],
)
def test_loopback_addresses_are_recognised(address: str, expected: bool) -> None:
    assert is_loopback(address) is expected
