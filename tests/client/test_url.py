import pytest

from tidings.client.url import DEFAULT_URL, add_query, authority, is_loopback, resolve_hub_url
from tidings.exceptions import ConfigError


def test_url_defaults_to_the_variable_and_then_the_default() -> None:
    assert resolve_hub_url(None, {"TIDINGS_URL": "wss://hub.example/ws"}) == "wss://hub.example/ws"
    assert resolve_hub_url(None, {"TIDINGS_URL": ""}) == DEFAULT_URL
    assert resolve_hub_url(None, {}) == DEFAULT_URL
    assert resolve_hub_url("ws://h:1/ws", {"TIDINGS_URL": "wss://hub.example/ws"}) == "ws://h:1/ws"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("http://h:1", "ws://h:1/ws"),
        ("https://h/", "wss://h/ws"),
        ("ws://h/ws/", "ws://h/ws"),
        ("https://h/tidings/ws/", "wss://h/tidings/ws"),
        ("wss://h/tidings/ws?contract=2025-01-30", "wss://h/tidings/ws?contract=2025-01-30"),
        (" ws://[::1]:8765 ", "ws://[::1]:8765/ws"),
        ("hub.example.com", "ws://hub.example.com:8765/ws"),
        ("hub.example.com:", "ws://hub.example.com:8765/ws"),
        ("hub.example.com:80", "ws://hub.example.com:80/ws"),
        ("hub.example.com/tidings", "ws://hub.example.com:8765/tidings/ws"),
        ("127.0.0.1:8765", "ws://127.0.0.1:8765/ws"),
        ("::1", "ws://[::1]:8765/ws"),
        ("[::1]:80", "ws://[::1]:80/ws"),
        ("me:secret@hub:1", "ws://me:secret@hub:1/ws"),
        ("https://h/tidings", "wss://h/tidings/ws"),
        ("https://h/tidings/", "wss://h/tidings/ws"),
        ("https://h/tidings/ws", "wss://h/tidings/ws"),
        ("wss://h/tidings/", "wss://h/tidings/ws"),
        ("wss://h/events", "wss://h/events"),
    ],
)
def test_url_forms_are_resolved(written: str, meant: str) -> None:
    assert resolve_hub_url(written) == meant


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://h/ws",
        "ws://",
        "ws:///ws",
        "ws://h:0",
        "ws://h:99999",
        "ws://h/ws#x",
        "ws://[::1",
        "my host",
        "h:0",
        "h:99999",
    ],
)
def test_invalid_url_is_refused_with_a_hint(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_hub_url(url)
    assert caught.value.option == "url"
    assert DEFAULT_URL in caught.value.hint


def test_invalid_variable_is_named_as_the_source() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_hub_url(None, {"TIDINGS_URL": "ftp://hub"})
    assert caught.value.source == "TIDINGS_URL"


def test_refusal_hides_the_password() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_hub_url("ws://me:p@ss@hub:0")
    assert "'ws://me:...@hub:0'" in str(caught.value)


def test_query_parameters_are_added() -> None:
    assert add_query("ws://h/ws", pace_ms=50) == "ws://h/ws?pace_ms=50"
    assert add_query("ws://h/ws?a=b%20c", pace_ms=50) == "ws://h/ws?a=b%20c&pace_ms=50"


def test_authority_has_no_password() -> None:
    assert authority("ws://me:secret@h:1/ws") == "h:1"


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("ws://127.0.0.9/ws", True),
        ("ws://[::1]:1/ws", True),
        ("ws://localhost/ws", True),
        ("ws://hub.localhost/ws", True),
        ("ws://10.0.0.1/ws", False),
        ("ws://hub.example/ws", False),
    ],
)
def test_loopback_is_recognized(url: str, local: bool) -> None:
    assert is_loopback(url) is local
