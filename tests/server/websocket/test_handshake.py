import gc
import json
import re

import pytest
from tests.heap import private_heap
from tests.server.raw_client import handshake_request

from tidings.server.websocket.handshake import Handshake, Opening, Refusal


def opening(request: bytes, *subprotocols: str, compression_bytes: int | None = None) -> Opening:
    return Opening(
        request,
        subprotocols=subprotocols,
        peer=("192.0.2.1", 4711),
        scheme="ws",
        compression_bytes=compression_bytes,
    )


def accept(request: bytes, *subprotocols: str, compression_bytes: int | None = None) -> tuple[Handshake, str]:
    opened = opening(request, *subprotocols, compression_bytes=compression_bytes)
    assert opened.handshake is not None
    return opened.handshake, opened.accepted().decode()


def test_handshake_accepts_the_key_of_the_rfc() -> None:
    _, response = accept(handshake_request())
    assert response.startswith("HTTP/1.1 101 ")
    assert "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in response
    assert response.endswith("\r\n\r\n")


def test_handshake_has_the_requests_facts() -> None:
    handshake, _ = accept(handshake_request("/a%20b/ws?channel=x%2Fy&since=", headers=("X-Two: 1", "x-two: 2")))
    assert handshake.path == "/a b/ws"
    assert handshake.query == "channel=x%2Fy&since="
    assert handshake.headers.get_all("X-TWO") == ["1", "2"]
    assert handshake.peer == ("192.0.2.1", 4711)
    assert handshake.scheme == "ws"


@pytest.mark.parametrize(
    ("offered", "selected"),
    [
        ((), None),
        (("other",), None),
        (("other, v1",), "v1"),
        (("v1, v2",), "v2"),
        (("v1", "other"), "v1"),
    ],
)
def test_handshake_selects_the_preferred_subprotocol_or_none(offered: tuple[str, ...], selected: str | None) -> None:
    headers = tuple(f"Sec-WebSocket-Protocol: {names}" for names in offered)
    handshake, response = accept(handshake_request(headers=headers), "v2", "v1")
    assert handshake.subprotocol == selected
    found = re.findall(r"Sec-WebSocket-Protocol: (.*)\r\n", response)
    assert found == ([selected] if selected else [])


VALID = handshake_request()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        pytest.param(VALID.replace(b"GET", b"POST"), 405, id="another method"),
        pytest.param(VALID.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"short"), 400, id="a malformed key"),
        pytest.param(re.sub(rb"Sec-WebSocket-Key.*\r\n", b"", VALID), 400, id="no key"),
        pytest.param(VALID.replace(b"Version: 13", b"Version: 8"), 426, id="another version"),
        pytest.param(re.sub(rb"Upgrade: websocket\r\n", b"Upgrade: h2c\r\n", VALID), 426, id="another upgrade"),
        pytest.param(handshake_request(headers=("Transfer-Encoding: chunked",)), 400, id="a body"),
        pytest.param(handshake_request("/\xff"), 400, id="a path that is not ASCII"),
        pytest.param(handshake_request("/" + "x" * 9000), 414, id="a long path"),
        pytest.param(handshake_request(headers=("X-Long: " + "x" * 9000,)), 431, id="a long header"),
        pytest.param(handshake_request(headers=tuple(f"X-{n}: 1" for n in range(200))), 431, id="too many headers"),
        pytest.param(b"\r\n\r\n", 400, id="nothing"),
    ],
)
def test_malformed_handshake_is_refused(request_bytes: bytes, status: int) -> None:
    opened = opening(request_bytes)
    assert opened.handshake is None
    response = opened.refused()
    assert response.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\nConnection: close\r\n" in response
    head, _, body = response.partition(b"\r\n\r\n")
    assert b"Content-Length: %d" % len(body) in head


def test_refusal_of_another_version_names_the_one_that_is_served() -> None:
    head, _, body = opening(VALID.replace(b"Version: 13", b"Version: 8")).refused().decode().partition("\r\n\r\n")
    assert {"Sec-WebSocket-Version: 13", "Upgrade: websocket"} <= set(head.split("\r\n"))
    assert json.loads(body)["code"] == "upgrade_required"


def test_refusal_of_a_malformed_handshake_is_error_data() -> None:
    body = opening(re.sub(rb"Sec-WebSocket-Key.*\r\n", b"", VALID)).refused().partition(b"\r\n\r\n")[2]
    error = json.loads(body)
    assert error["code"] == "bad_request"
    assert "Sec-WebSocket-Key" in error["message"]


def test_refusal_has_the_applications_response() -> None:
    opened = opening(handshake_request())
    refusal = Refusal(status=403, body=b"{}", content_type="application/json", headers=(("X-Why", "origin"),))
    head, _, body = opened.refused(refusal).decode().partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 403 Forbidden\r\n")
    assert {"Connection: close", "Content-Type: application/json", "Content-Length: 2", "X-Why: origin"} <= set(
        head.split("\r\n")
    )
    assert body == "{}"


def test_handshake_leaves_no_cycles() -> None:
    accept(handshake_request())  # fills the caches
    with private_heap():
        accept(handshake_request(headers=("Sec-WebSocket-Protocol: v1",)), "v1")
        assert gc.collect() == 0
