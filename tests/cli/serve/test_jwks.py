"""A served hub whose keys come from an issuer that is away, comes back, rotates its keys, and goes away again."""

import json
import signal
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tests.access.servers import reply, serving
from tests.access.tokens import jwk, jwk_set, private_key, token
from tests.cli.processes import TIMEOUT_S, Hub, tidings
from websockets.sync.client import connect

from tidings.protocol.messages import SUBPROTOCOL


def make_token(algorithm: str, kid: str, **claims: object) -> str:
    now = int(time.time())
    lively = {"iat": now, "exp": now + 3_600, "tidings": ["read data"], **claims}
    return token(private_key(algorithm), algorithm, {"kid": kid}, **lively)


def ask(hub: Hub, text: str) -> tuple[int, str]:
    """Return the status of a request with a token, and the code of the error."""
    request = Request(f"{hub.http}v1/snapshot?channel=data", headers={"Authorization": f"Bearer {text}"})
    try:
        with urlopen(request, timeout=TIMEOUT_S) as answer:
            return int(answer.status), ""
    except HTTPError as error:
        with error:
            return error.code, str(json.load(error)["code"])


def wait_for(hub: Hub, text: str, expected: tuple[int, str]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while (found := ask(hub, text)) != expected:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


class Issuer:
    """Publishes a set of keys, or fails."""

    def __init__(self) -> None:
        self.keys: bytes | None = None
        self.requests = 0

    def __call__(self, request: BaseHTTPRequestHandler) -> None:
        self.requests += 1
        if self.keys is None:
            reply(request, status=503)
        else:
            reply(request, self.keys, Content_Type="application/jwk-set+json")


def test_hub_outlives_outages_of_the_issuer_of_its_keys() -> None:
    issuer = Issuer()
    with serving(issuer) as url:
        options = ("--auth", "jwt", "--jwks-url", f"{url}/keys", "--jwt-audience", "tidings")
        with Hub(*options) as hub:
            old = make_token("ES256", "old")
            assert ask(hub, old) == (503, "authentication_unavailable")
            with urlopen(f"{hub.http}healthz", timeout=TIMEOUT_S) as answer:
                assert answer.status == 200
            issuer.keys = jwk_set(jwk("ES256", kid="old"))
            wait_for(hub, old, (200, ""))  # within the delay before the next attempt
            assert ask(hub, make_token("ES384", "forged")) == (401, "wrong_algorithm")
            requests = issuer.requests
            for number in range(20):  # each may be that of a key which was published a moment ago
                forged = make_token("ES256", f"forged-{number}")
                assert ask(hub, forged) == (503, "authentication_unavailable")
            assert issuer.requests == requests, "forged tokens cause no flood"
            issuer.keys = None
            assert ask(hub, old) == (200, "")


def test_key_that_the_issuer_withdraws_ends_the_sessions_of_its_tokens() -> None:
    issuer = Issuer()
    issuer.keys = jwk_set(jwk("ES256", kid="old"), jwk("ES384", kid="new"))
    with serving(issuer) as url:
        options = ("--auth", "jwt", "--jwks-url", f"{url}/keys", "--jwt-audience", "tidings")
        with Hub(*options) as hub:
            old, new = make_token("ES256", "old"), make_token("ES384", "new")
            wait_for(hub, old, (200, ""))
            versioned: Any = {"subprotocols": [SUBPROTOCOL]}
            with (
                connect(hub.url, additional_headers={"Authorization": f"Bearer {old}"}, **versioned) as ended,
                connect(hub.url, additional_headers={"Authorization": f"Bearer {new}"}, **versioned) as open,
            ):
                for socket in (ended, open):
                    assert json.loads(socket.recv(timeout=TIMEOUT_S))["data"]["auth"] == "ada"
                issuer.keys = jwk_set(jwk("ES384", kid="new"))
                hub.signal(signal.SIGHUP)
                failed = json.loads(ended.recv(timeout=TIMEOUT_S))
                assert (failed["type"], failed["data"]["code"]) == ("auth:failed", "wrong_algorithm")
                open.send('{"type":"connection:ping","id":"p"}')
                assert json.loads(open.recv(timeout=TIMEOUT_S))["type"] == "connection:pong"


def test_hub_starts_while_nothing_listens_at_the_url() -> None:
    with serving(Issuer()) as url:
        pass
    with Hub("--auth", "jwt", "--jwks-url", f"{url}/keys") as hub:
        assert ask(hub, make_token("ES256", "k")) == (503, "authentication_unavailable")


def test_tokens_of_every_fault_have_their_codes(tmp_path: Path) -> None:
    issuer = Issuer()
    issuer.keys = jwk_set(jwk("ES256", kid="k"))
    now = int(time.time())
    make: Callable[..., str] = lambda **claims: make_token("ES256", "k", **claims)  # noqa: E731
    with serving(issuer) as url:
        config = tmp_path / "hub.toml"
        config.write_text(
            f'auth = "jwt"\njwks-url = "{url}/keys"\njwt-audience = "tidings"\njwt-issuer = "https://issuer.example"\n'
        )
        with Hub("--config", str(config)) as hub:
            wait_for(hub, make(), (200, ""))
            for text, code in (
                (make(exp=now - 60), "token_expired"),
                (make(nbf=now + 600), "token_not_yet_valid"),
                (make(aud="other"), "wrong_audience"),
                (make(iss="https://other.example"), "wrong_issuer"),
                (make()[:100], "token_truncated"),
                (make()[:-8], "token_truncated"),
                (make()[:-8] + "A" * 8, "invalid_token"),
                (make(tidings=["seize data"]), "invalid_grant"),
                (make(pad="x" * 17_000), "token_too_large"),
            ):
                status, found = ask(hub, text)
                assert (found, status in (401, 422, 431)) == (code, True)
            shown = tidings("token", "inspect", "--config", str(config), "--json", stdin=make(aud="other"))
            assert json.loads(shown.stdout)["code"] == "wrong_audience"
            assert tidings("token", "inspect", "--config", str(config), stdin=make()).returncode == 0
            assert hub.process.poll() is None
