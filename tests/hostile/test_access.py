"""Clients without a right to be there take nothing from those who have one, and get in by no forged token."""

import json
from pathlib import Path
from typing import Any

import pytest
from benchmarks.hostile.attacks.access import forge, forged_tokens
from benchmarks.hostile.measure import SHORT_PAUSES, measure
from benchmarks.hostile.peer import CLOSE, TEXT, Peer, message
from benchmarks.hostile.registry import all_attacks
from tests.access.tokens import SECRET, authenticator, judge, public_pem
from tests.server.hub_server import HubServer

from tidings.access.control import AccessOptions
from tidings.access.signing_keys import parse_keys
from tidings.access.subjects import Subject
from tidings.exceptions import AccessError

MAX_PEAK_BYTES = 150 << 20


@pytest.mark.alone
@pytest.mark.parametrize(("name", "scale"), [("forged-tokens", 1.0), ("silent-sockets", 0.2), ("handshake-storm", 1.0)])
def test_attack_on_access_hurts_no_one(name: str, scale: float, tmp_path: Path) -> None:
    outcome = measure(all_attacks()[name], tmp_path, seconds=4.0, scale=scale, pauses=SHORT_PAUSES)
    assert not outcome.hub_ended
    assert outcome.waits.lost == 0
    assert outcome.peak_over_idle_bytes <= MAX_PEAK_BYTES


LENIENT: dict[str, Any] = {"issuers": (), "audiences": (), "max_life_s": 1e12}
"""A policy that refuses none of the claims, so that only the forgery is refused."""


@pytest.mark.parametrize("flaw", forged_tokens())
def test_forged_token_is_refused_with_a_code(flaw: str) -> None:
    for keys in ((), tuple(parse_keys(public_pem("EdDSA"))), tuple(parse_keys(public_pem("RS256")))):
        result = judge(authenticator(*keys, **LENIENT), forged_tokens()[flaw])
        assert isinstance(result, AccessError)
        broken = ("invalid_token", "token_truncated", "token_too_large")
        assert result.code in (*broken, "wrong_algorithm", "unknown_signing_key")


def test_public_key_is_not_the_secret_of_a_token() -> None:
    for algorithm in ("EdDSA", "RS256", "ES256"):
        public = public_pem(algorithm)
        for secret in (public, public.strip(), public + b"\n"):
            token = forge({"alg": "HS256"}, secret=secret)
            result = judge(authenticator(*parse_keys(public), **LENIENT), token)
            assert isinstance(result, AccessError)


def test_same_claims_with_the_right_secret_are_accepted() -> None:
    subject = judge(authenticator(**LENIENT), forge({"alg": "HS256"}, secret=SECRET))
    assert isinstance(subject, Subject)
    assert subject.name == "root"


def test_forged_tokens_end_a_connection_and_are_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    with HubServer(access=AccessOptions(authenticators=[authenticator()], max_failures=0)) as server:
        for flaw, token in forged_tokens().items():
            peer = Peer("127.0.0.1", server.port)
            peer.send(message("auth:token", {"token": token}, id="1"))
            codes = []
            while (found := peer.read())[0] != CLOSE:
                if found[0] == TEXT:
                    codes.append(json.loads(found[1])["data"].get("code"))
            peer.close()
            assert int.from_bytes(found[1][:2], "big") == 4001, flaw
            assert codes[-1] == 4001, flaw
    logged = capsys.readouterr().out
    assert "Traceback" not in logged
    assert not [token for token in forged_tokens().values() if len(token) > 20 and token in logged]
    assert SECRET.decode() not in logged
