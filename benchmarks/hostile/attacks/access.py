"""Clients without a right to be there: forged tokens, silent sockets, and handshakes without end."""

import base64
import contextlib
import hashlib
import hmac
import json
import select
import socket
from collections.abc import Sequence

from benchmarks.hostile.peer import Peer, connect, handshake, message
from benchmarks.hostile.registry import Target, attack

_REQUEST = b"GET /v1/operations HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %b\r\n\r\n"
_CLAIMS = {"sub": "root", "iat": 1_000_000_000, "exp": 4_000_000_000, "tidings": ["admin"]}
_PUBLIC_PEM = b"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA" + b"A" * 43 + b"=\n-----END PUBLIC KEY-----\n"


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def forge(header: object, claims: object = _CLAIMS, *, secret: bytes | None = None) -> str:
    """Return a token with any header and claims, signed with `secret` (HS256), or with an empty signature."""
    text = ".".join(
        _encode(part if isinstance(part, bytes) else json.dumps(part).encode()) for part in (header, claims)
    )
    signature = b"" if secret is None else hmac.digest(secret, text.encode(), hashlib.sha256)
    return f"{text}.{_encode(signature)}"


def forged_tokens() -> dict[str, str]:
    """Return tokens that no hub may accept, by what is wrong with them."""
    nested = b"[" * 5_000 + b"]" * 5_000
    return {
        "no signature": forge({"alg": "none"}),
        "no signature, in capitals": forge({"alg": "nOnE", "typ": "JWT"}),
        "empty secret": forge({"alg": "HS256"}, secret=b""),
        "public key as a secret": forge({"alg": "HS256"}, secret=_PUBLIC_PEM),
        "asymmetric algorithm of a secret": forge({"alg": "RS256"}, secret=b"guess"),
        "kid that is a path": forge({"alg": "HS256", "kid": "../../../../dev/null"}, secret=b""),
        "kid that is SQL": forge({"alg": "HS256", "kid": "x' UNION SELECT 'guess"}, secret=b"guess"),
        "kid that is not text": forge({"alg": "HS256", "kid": {"a": 1}}, secret=b"guess"),
        "key in the header": forge({"alg": "HS256", "jwk": {"kty": "oct", "k": "Z3Vlc3M"}}, secret=b"guess"),
        "address of a key": forge({"alg": "RS256", "jku": "http://127.0.0.1:9/jwks"}, secret=b"guess"),
        "critical extension": forge({"alg": "HS256", "crit": ["exp"], "exp": 1}, secret=b"guess"),
        "deep header": forge(nested, secret=b"guess"),
        "deep claims": forge({"alg": "HS256"}, nested, secret=b"guess"),
        "claims that are not an object": forge({"alg": "HS256"}, [1], secret=b"guess"),
        "long header": forge({"alg": "HS256", "x": "y" * 11_000}, secret=b"guess"),
        "compressed": forge({"alg": "dir", "enc": "A256GCM", "zip": "DEF"}, secret=b"guess"),
        "empty parts": "..",
        "five parts": "a.b.c.d.e",
        "not Base64": "%%%.%%%.%%%",
        "like a key": "tdk_aaaaaaaa_" + "a" * 52,
    }


@attack("forged-tokens", "4 sockets and 4 HTTP connections that send forged tokens at full speed", identified=True)
def send_forged_tokens(target: Target) -> None:
    forged = list(forged_tokens().values())
    number = 0
    while not target.over():
        peers = [Peer(target.host, target.port) for _ in range(4)]
        for peer in peers:
            number += 1
            peer.send_some(message("auth:token", {"token": forged[number % len(forged)]}, id="1"))
        opened = [connect(target.host, target.port) for _ in range(4)]
        for each in opened:
            number += 1
            each.sendall(_REQUEST % forged[number % len(forged)].encode())
        _read_once(target, opened)
        for peer in peers:
            peer.close()
        for each in opened:
            each.close()


@attack("silent-sockets", "2,000 sockets that never authenticate, and come again when they are closed", identified=True)
def never_authenticate(target: Target) -> None:
    peers: dict[int, Peer] = {}
    while not target.over():
        while len(peers) < target.scaled(2_000) and not target.over():
            with contextlib.suppress(OSError):
                peer = Peer(target.host, target.port)
                peers[peer.fileno()] = peer
        for peer in [each for each in peers.values() if each.discard() < 0]:
            del peers[peer.fileno()]
            peer.close()
        select.select([], [], [], 0.05)


@attack("handshake-storm", "connections that send a handshake with a guessed key, and go", identified=True)
def storm_of_handshakes(target: Target) -> None:
    request = handshake("/ws", token="tdk_aaaaaaaa_" + "a" * 52)
    while not target.over():
        opened = []
        for _ in range(50):
            with contextlib.suppress(OSError):
                opened.append(connect(target.host, target.port))
        for each in opened:
            with contextlib.suppress(OSError):
                each.sendall(request)
        _read_once(target, opened[-1:])
        for each in opened:
            each.close()


def _read_once(target: Target, opened: Sequence[socket.socket]) -> None:
    """Wait until each connection has answered something, or the time is over."""
    waiting = list(opened)
    while waiting and not target.over():
        for each in select.select(waiting, [], [], 0.1)[0]:
            with contextlib.suppress(OSError):
                each.recv(65_536)
            waiting.remove(each)
