import asyncio
import json
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import jwt
import pytest
from tests.access.servers import reply, serving
from tests.access.token_table import TokenTable
from tests.access.tokens import SECRET, jwk, jwk_set, private_key, private_pem, public_pem, token
from tests.cli.processes import tidings
from tests.server.hub_server import HubServer
from websockets.asyncio.client import connect

NOW = int(time.time())
DAY = 86_400
"""Seconds: the tests of a run may be hours later than this line."""
LIVE: dict[str, Any] = {"iat": NOW, "exp": NOW + DAY}


@pytest.fixture
def secret(tmp_path: Path) -> str:
    file = tmp_path / "secret"
    file.write_bytes(SECRET + b"\n")
    file.chmod(0o600)
    return str(file)


def inspected(*arguments: str, stdin: str) -> tuple[int, dict[str, Any]]:
    done = tidings("token", "inspect", "--json", *arguments, stdin=stdin)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_issued_token_is_printed_alone_and_accepted_by_its_key(secret: str) -> None:
    done = tidings(
        *("token", "issue", "--subject", "nightly", "--secret-file", secret, "--expires", "2h", "--audience", "hub"),
        *("--grant", "publish operations/nightly.*", "--grant", "details", "--issuer", "me"),
    )
    assert done.returncode == 0, done.stderr
    text = done.stdout.removesuffix("\n")
    claims = jwt.decode(text, SECRET, algorithms=["HS256"], audience="hub", issuer="me")
    assert (claims["sub"], claims["exp"] - int(claims["iat"])) == ("nightly", 7_200)
    assert claims["tidings"] == ["publish operations/nightly.*", "details"]
    assert f"issued the token {claims['jti']} of nightly: publish operations/nightly.*, details" in done.stderr
    assert text not in done.stderr
    code, report = inspected("--secret-file", secret, "--audience", "hub", "--issuer", "me", stdin=text)
    assert (code, report["verified"], report["grants"]) == (0, True, ["publish operations/nightly.*", "details"])


def test_token_is_signed_with_a_private_key(tmp_path: Path) -> None:
    private, public = tmp_path / "private.pem", tmp_path / "public.pem"
    private.write_bytes(private_pem("EdDSA"))
    public.write_bytes(public_pem("EdDSA"))
    issued = tidings("token", "issue", "--subject", "a", "--key", str(private), "--id", "t-1")
    assert issued.returncode == 0, issued.stderr
    code, report = inspected("--key", str(public), stdin=f"  Bearer {issued.stdout}\n")
    assert (code, report["verified"], report["algorithm"]) == (0, True, "EdDSA")
    assert report["claims"]["jti"] == "t-1"
    assert issued.stdout.strip().rpartition(".")[2] not in json.dumps(report), "without the signature"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--subject", "a"], "with a secret or with a private key"),
        (["--subject", "a", "--secret-file", "S", "--key", "S"], "with a secret or with a private key"),
        (["--subject", "", "--secret-file", "S"], "invalid subject"),
        (["--subject", "none", "--secret-file", "S"], "invalid subject 'none': it is reserved"),
        (["--subject", "a", "--secret-file", "S", "--id", "x\ty"], "invalid id"),
        (["--subject", "a", "--secret-file", "S", "--grant", "seize data"], "--grant: invalid grant"),
        (["--subject", "a", "--secret-file", "S", "--expires", "367d"], "--expires: invalid duration"),
        (["--subject", "a", "--secret-file", "S", "--algorithm", "none"], "invalid algorithm 'none'"),
        (["--subject", "a", "--secret-file", "S", "--algorithm", "RS256"], "none of which is allowed"),
        (["--subject", "a", "--key", "S"], "invalid key in"),
        (["--subject", "a", "--secret-file", "/none"], "cannot read '/none'"),
        (["--secret-file", "S"], "missing option"),
    ],
)
def test_issue_explains_what_is_wrong(secret: str, arguments: list[str], message: str) -> None:
    done = tidings("token", "issue", *(secret if each == "S" else each for each in arguments))
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr.lower().replace("\n", " ") or message in done.stderr
    assert SECRET.decode() not in done.stderr


@pytest.mark.parametrize(
    ("changes", "code", "hint"),
    [
        ({"exp": NOW - 3 * DAY}, "token_expired", "3 days"),
        ({"nbf": NOW + 4 * DAY}, "token_not_yet_valid", "days"),
        ({"aud": "other"}, "wrong_audience", ""),
        ({"iss": "other"}, "wrong_issuer", ""),
        ({"sub": ""}, "invalid_token", ""),
        ({"tidings": ["seize data"]}, "invalid_grant", "tidings token inspect"),
    ],
)
def test_inspect_shows_why_a_hub_refuses_a_token(secret: str, changes: dict[str, Any], code: str, hint: str) -> None:
    text = token(**{**LIVE, **changes})
    checks = ("--secret-file", secret, "--audience", "tidings", "--issuer", "https://issuer.example")
    exit_code, report = inspected(*checks, stdin=text)
    assert (exit_code, report["code"]) == (1, code)
    assert hint in report["hint"]
    shown = tidings("token", "inspect", *checks, stdin=text)
    assert (shown.returncode, shown.stderr) == (1, "")
    assert f"({code})" in shown.stdout


def test_inspect_without_a_key_shows_claims_and_grants_of_templates() -> None:
    text = token(**LIVE, roles=["a", "b*"], name="Ada\x1b[2J")
    done = tidings(
        *("token", "inspect", "--template", "read data/{roles}.*", "--template", "admin if roles=root"), stdin=text
    )
    assert done.returncode == 0, done.stderr
    assert "not verified" in done.stdout
    assert "read data/a.*" in done.stdout
    assert "a value of `roles` contains '*'" in done.stdout
    assert "admin if roles=root: `roles` is not, and does not contain, 'root'" in done.stdout
    assert "\x1b" not in done.stdout
    assert "signature" in done.stdout
    assert text.rpartition(".")[2] not in done.stdout


def test_inspect_reads_files_and_refuses_a_token_as_an_argument(tmp_path: Path, secret: str) -> None:
    file = tmp_path / "token"
    file.write_text(token(**LIVE))
    assert tidings("token", "inspect", str(file), "--secret-file", secret).returncode == 0
    refused = tidings("token", "inspect", token(**LIVE))
    assert refused.returncode == 2
    assert "list of processes" in refused.stderr
    assert token(**LIVE) not in refused.stderr
    assert "cannot read" in tidings("token", "inspect", str(tmp_path / "none")).stderr


@pytest.mark.parametrize("text", ["", "hello", "a.b.c", token()[:60], "x" * (1 << 21), "\0\0.\0.\0"])
def test_inspect_refuses_other_input_in_two_lines(text: str) -> None:
    done = tidings("token", "inspect", stdin=text)
    assert (done.returncode, done.stdout) == (1, "")
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["error", "hint"]


def test_inspect_fetches_a_set_of_keys() -> None:
    def handle(request: BaseHTTPRequestHandler) -> None:
        if request.path == "/keys":
            reply(request, jwk_set(jwk("ES256", kid="k")))
        else:
            reply(request, b"<html>", status=200 if request.path == "/page" else 500)

    text = token(private_key("ES256"), "ES256", {"kid": "k"}, **LIVE)
    with serving(handle) as url:
        assert inspected("--jwks-url", f"{url}/keys", stdin=text)[1]["verified"] is True
        for path, message in (("page", "has no keys"), ("none", "the status is 500")):
            done = tidings("token", "inspect", "--jwks-url", f"{url}/{path}", stdin=text)
            assert (done.returncode, message in done.stderr) == (1, True)
    done = tidings("token", "inspect", "--jwks-url", "http://issuer.example/keys", stdin=text)
    assert (done.returncode, "expected https://" in done.stderr) == (2, True)


def test_revoke_sends_what_is_revoked_to_the_hub(tmp_path: Path) -> None:
    bodies: list[Any] = []

    def handle(request: BaseHTTPRequestHandler) -> None:
        assert request.path == "/v1/admin/revocations"
        body = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
        bodies.append((request.headers["Authorization"], body))
        answer = {"kind": "subject", "name": "ada", "issued_before": "2026-01-01T00:00:00Z", "stored": len(bodies) != 2}
        reply(request, json.dumps(answer if "subject" in body else {"stored": True}).encode())

    key = tidings("token", "inspect", stdin=f"tdk_k3v7ab2q_{'x' * 52}\n")
    assert (key.returncode, key.stdout) == (2, "")
    assert "error: this is the API key k3v7ab2q, and no token" in key.stderr
    assert "xx" not in key.stderr
    text = token(exp=NOW + DAY)
    with serving(handle) as url:
        hub = {"TIDINGS_URL": url.replace("http", "ws") + "/ws", "TIDINGS_TOKEN": "admin-key"}
        done = tidings("token", "revoke", "ada", **hub)
        again = tidings("token", "revoke", "ada", "--issued-before", "2026-01-01T00:00:00Z", **hub)
        one = tidings("token", "revoke", "--id", "t-7", **hub)
        leaked = tidings("token", "revoke", "--from-file", "-", stdin=text, **hub)
    assert [each.returncode for each in (done, again, one, leaked)] == [0] * 4, leaked.stderr
    assert done.stdout == "revoked everything of ada that was issued before 2026-01-01T00:00:00Z\n"
    assert "tries again" in again.stderr
    assert one.stdout == "revoked the credential t-7\n"
    assert {sent for sent, _ in bodies} == {"Bearer admin-key"}
    assert [body for _, body in bodies][:3] == [
        {"subject": "ada"},
        {"subject": "ada", "issued_before": "2026-01-01T00:00:00Z"},
        {"credential_id": "t-7"},
    ]
    assert bodies[3][1].keys() == {"credential_id", "expires_at"}
    assert text not in leaked.stdout + leaked.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["ada", "--id", "t"],
        ["--id", "t", "--issued-before", "2026-01-01T00:00:00Z"],
        ["ada", "--issued-before", "yesterday"],
    ],
)
def test_revoke_explains_a_wrong_command_line(arguments: list[str]) -> None:
    done = tidings("token", "revoke", *arguments)
    assert done.returncode in (1, 2)
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["error", "hint"]


async def test_revoked_subject_is_disconnected_and_stays_out() -> None:
    table = TokenTable(time.time_ns)
    table.add("root-token", "admin", name="root")
    table.add("ada-token", "read data", name="ada")
    with HubServer(access=table.options) as server:
        headers = {"authorization": "Bearer ada-token"}
        async with connect(server.ws, additional_headers=headers) as socket:
            await socket.recv()
            hub = {"TIDINGS_URL": server.ws, "TIDINGS_TOKEN": "root-token"}
            done = await asyncio.to_thread(tidings, "token", "revoke", "ada", **hub)
            assert done.returncode == 0, done.stderr
            assert done.stdout.startswith("revoked everything of ada that was issued before 2")
            failed = json.loads(await socket.recv())
            await socket.wait_closed()
        assert (failed["data"]["code"], socket.close_code) == ("credential_revoked", 4001)
        refused = await asyncio.to_thread(tidings, "ls", TIDINGS_URL=server.ws, TIDINGS_TOKEN="ada-token")
        assert "credential was revoked" in refused.stderr
        denied = await asyncio.to_thread(
            tidings, "token", "revoke", "root", TIDINGS_URL=server.ws, TIDINGS_TOKEN="eve-token"
        )
        assert denied.returncode != 0


def test_options_of_the_hub_are_those_of_issued_and_inspected_tokens(tmp_path: Path, secret: str) -> None:
    config = tmp_path / "hub.toml"
    config.write_text(
        f'auth = "jwt"\njwt-secret-file = "{secret}"\njwt-issuer = "me"\njwt-audience = ["hub", "other"]\n'
        '[grants]\nread = "operations/{sub}.*"\n'
    )
    issued = tidings("token", "issue", "--subject", "ada", "--config", str(config))
    assert issued.returncode == 0, issued.stderr
    assert "of ada: read global, read operations/ada.*; it expires" in issued.stderr
    more = tidings("token", "issue", "--subject", "ada", "--grant", "publish data", "--config", str(config))
    assert "of ada: read global, read operations/ada.*, publish data; it expires" in more.stderr
    claims = jwt.decode(issued.stdout.strip(), SECRET, algorithms=["HS256"], audience="hub", issuer="me")
    assert claims["aud"] == "hub"
    code, report = inspected("--config", str(config), stdin=issued.stdout)
    assert (code, report["verified"]) == (0, True)
    assert report["grants"] == ["read global", "read operations/ada.*"]
    code, report = inspected("--config", str(config), stdin=token(**LIVE))
    assert (code, report["code"]) == (1, "wrong_issuer")
