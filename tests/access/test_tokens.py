import logging
import traceback
from typing import Any

import pytest
from tests.access.tokens import (
    AUDIENCE,
    CHANNELS,
    ISSUER,
    NOW,
    SECRET,
    authenticator,
    claims,
    forged,
    judge,
    jwk,
    payload_of,
    private_key,
    public_pem,
    token,
)

from tidings.access.claims import GrantRules
from tidings.access.grants import Grants
from tidings.access.signing_keys import ALGORITHMS, make_secret, parse_keys
from tidings.access.subjects import Credential, Subject
from tidings.access.tokens import FixedKeys, TokenPolicy, TokenVerifier, VerifiedToken
from tidings.exceptions import AccessError
from tidings.protocol.codes import error_data
from tidings.testing.clock import ManualClock

ASYMMETRIC = [name for name in ALGORITHMS if not name.startswith("HS")]
DAY = 86_400


def refused(checker: Any, text: str) -> AccessError:
    result = judge(checker, text)
    assert isinstance(result, AccessError), "the token is accepted"
    return result


def test_token_names_its_subject_its_grants_and_its_times() -> None:
    subject = judge(authenticator(), token())
    assert subject == Subject(
        name="ada",
        grants=Grants.parse(["read operations/acme.*"], CHANNELS),
        expires_ns=(NOW + 3_630) * 10**9,
        leeway_ns=30 * 10**9,
        issued_ns=NOW * 10**9,
        credential_id="token-1",
    )


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_token_signed_with_a_secret_is_accepted(algorithm: str) -> None:
    assert isinstance(judge(authenticator(), token(algorithm=algorithm)), Subject)
    assert refused(authenticator(), token(b"f" * 64, algorithm)).code == "invalid_token"


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_token_signed_with_a_private_key_is_accepted(algorithm: str) -> None:
    checker = authenticator(*parse_keys(public_pem(algorithm)))
    assert isinstance(judge(checker, token(private_key(algorithm), algorithm)), Subject)


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_public_key_is_never_the_secret_of_a_token(algorithm: str) -> None:
    # What an attacker does who has the public key: PyJWT refuses to, so the signature is made by hand.
    import hashlib
    import hmac

    unsigned = forged({"alg": "HS256", "typ": "JWT"}, claims())[:-1]
    signature = hmac.new(public_pem(algorithm), unsigned.encode(), hashlib.sha256).digest()
    text = forged({"alg": "HS256", "typ": "JWT"}, claims(), signature)
    checker = authenticator(*parse_keys(public_pem(algorithm)))
    assert refused(checker, text).code == "wrong_algorithm"


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", "", "HS1", "RSA1_5", "ES256K"])
def test_unsigned_token_and_foreign_algorithms_are_refused(name: str) -> None:
    assert refused(authenticator(), forged({"alg": name}, claims())).code == "wrong_algorithm"


@pytest.mark.parametrize("typ", [None, "JWT", "at+jwt", "application/at+JWT", "id_token"])
def test_token_with_a_usual_typ_is_accepted(typ: str | None) -> None:
    assert isinstance(judge(authenticator(), forged_with_secret({}, {"alg": "HS256", "typ": typ})), Subject)


@pytest.mark.parametrize("typ", ["tidings-license+jwt", "application/Logout+JWT", ["JWT"]])
def test_jwt_of_another_kind_is_no_token(typ: object) -> None:
    assert refused(authenticator(), forged_with_secret({}, {"alg": "HS256", "typ": typ})).code == "invalid_token"


def test_policy_narrows_the_algorithms_of_a_key() -> None:
    checker = authenticator(algorithms=("HS512",))
    error = refused(checker, token())
    assert error.code == "wrong_algorithm"
    assert "HS512" in (error_data(error).hint or "")
    assert isinstance(judge(checker, token(algorithm="HS512")), Subject)


BAD_CLAIMS: dict[str, tuple[dict[str, Any], str, str]] = {
    "expired": ({"exp": NOW - 3 * 3_600}, "token_expired", "3 h"),
    "just expired": ({"exp": NOW - 31}, "token_expired", "31 s"),
    "without expiry": ({"exp": None}, "token_expired", "exp"),
    "not yet valid": ({"nbf": NOW + 600}, "token_not_yet_valid", "10 min"),
    "issued by a clock that is ahead": ({"iat": NOW + 3 * DAY, "exp": NOW + 4 * DAY}, "token_not_yet_valid", "3 days"),
    "for another audience": ({"aud": "other"}, "wrong_audience", ""),
    "for other audiences": ({"aud": ["other", 7]}, "wrong_audience", ""),
    "with an audience that is not text": ({"aud": {"tidings": 1}}, "wrong_audience", ""),
    "without audience": ({"aud": None}, "wrong_audience", ""),
    "with no audience in the list": ({"aud": []}, "wrong_audience", ""),
    "from another issuer": ({"iss": f"{ISSUER}/"}, "wrong_issuer", ""),
    "from a list of issuers": ({"iss": [ISSUER]}, "wrong_issuer", ""),
    "without issuer": ({"iss": None}, "wrong_issuer", ""),
    "with a time that is text": ({"exp": "tomorrow"}, "invalid_token", ""),
    "with a time that is true": ({"exp": True}, "invalid_token", ""),
    "with a negative time": ({"iat": -1}, "invalid_token", ""),
    "with a time beyond all clocks": ({"exp": 10**30}, "invalid_token", ""),
    "valid for two years": ({"exp": NOW + 731 * DAY}, "invalid_token", "shorter"),
    "without subject": ({"sub": None}, "invalid_token", ""),
    "with an empty subject": ({"sub": ""}, "invalid_token", ""),
    "with a line end in the subject": ({"sub": "ada\nadmin"}, "invalid_token", ""),
    "with a long subject": ({"sub": "a" * 256}, "invalid_token", ""),
    "with two subjects": ({"sub": ["ada", "root"]}, "invalid_token", ""),
    "with an object as subject": ({"sub": {"name": "ada"}}, "invalid_token", ""),
    "with an id that is not text": ({"jti": 7}, "invalid_token", ""),
    "with a long id": ({"jti": "j" * 256}, "invalid_token", ""),
    "with grants that are not a list": ({"tidings": 7}, "invalid_grant", "inspect"),
    "with an invalid grant": ({"tidings": ["read operations", "seize secret-7"]}, "invalid_grant", "inspect"),
}


@pytest.mark.parametrize("case", BAD_CLAIMS)
def test_token_with_bad_claims_is_refused_with_its_code(case: str) -> None:
    changes, code, hint = BAD_CLAIMS[case]
    error = refused(authenticator(), forged_with_secret(changes))
    assert error.code == code
    data = error_data(error)
    assert data.hint
    assert hint in data.hint


def forged_with_secret(changes: dict[str, Any], header: dict[str, Any] | None = None) -> str:
    """Return a signed token with claims or a header that PyJWT would not encode."""
    import hashlib
    import hmac

    header = header or {"alg": "HS256", "typ": "JWT"}
    unsigned = forged(header, claims(**changes))[:-1]
    return forged(header, claims(**changes), hmac.new(SECRET, unsigned.encode(), hashlib.sha256).digest())


def test_leeway_tolerates_clocks_that_differ() -> None:
    checker = authenticator(leeway_s=60.0)
    assert isinstance(judge(checker, token(exp=NOW - 59)), Subject)
    assert isinstance(judge(checker, token(nbf=NOW + 59, iat=NOW + 59)), Subject)
    assert refused(checker, token(exp=NOW - 60)).code == "token_expired"


def test_token_expires_while_the_clock_goes_on() -> None:
    clock = ManualClock()
    checker, text = authenticator(clock=clock), token()
    clock.advance(3_629)
    assert isinstance(judge(checker, text), Subject)
    clock.advance(1)
    assert refused(checker, text).code == "token_expired"


def test_policy_may_accept_tokens_without_expiry_and_audience() -> None:
    subject = judge(authenticator(require_expiry=False, audiences=()), token(exp=None, aud=None))
    assert isinstance(subject, Subject)
    assert subject.expires_ns is None
    error = refused(authenticator(audiences=()), token())
    assert error.code == "wrong_audience", "a token for another service is not for this hub (RFC 7519 §4.1.3)"


def test_token_for_several_audiences_is_accepted() -> None:
    assert isinstance(judge(authenticator(), token(aud=["other", AUDIENCE])), Subject)


def test_name_of_the_subject_may_come_from_a_nested_claim() -> None:
    subject = judge(authenticator(name_claim="user.email"), token(user={"email": "ada@example.com"}))
    assert isinstance(subject, Subject)
    assert subject.name == "ada@example.com"


BROKEN = {
    "empty": "",
    "one word": "hello",
    "four parts": f"{token()}.AAAA",
    "with a blank": token().replace(".", ". ", 1),
    "in quotes": f'"{token()}"',
    "not ASCII": f"{token()}é",
    "with other claims": ".".join((token().split(".")[0], token(sub="eve").split(".")[1], token().split(".")[2])),
    "header that is not an object": "WzFd.e30.AAAA",
    "header that is deep": "W1tbW1tb" * 1_000 + ".e30.AAAA",
    "claims that are not an object": "",
    "kid that is not text": forged({"alg": "HS256", "kid": 7}, claims()),
    "critical extension": forged({"alg": "HS256", "crit": ["b64"], "b64": False}, claims()),
    "unencoded claims": f"{forged({'alg': 'HS256', 'b64': False}, claims()).rpartition('.')[0]}.{'A' * 43}",
}
del BROKEN["claims that are not an object"]


@pytest.mark.parametrize("case", BROKEN)
def test_broken_token_is_refused(case: str) -> None:
    assert refused(authenticator(), BROKEN[case]).code == "invalid_token"


@pytest.mark.parametrize("algorithm", ["HS256", "HS512", "RS256", "PS384", "ES256", "ES512", "EdDSA"])
def test_token_that_is_cut_off_has_its_own_code(algorithm: str) -> None:
    key = SECRET if algorithm.startswith("HS") else private_key(algorithm)
    checker = authenticator() if algorithm.startswith("HS") else authenticator(*parse_keys(public_pem(algorithm)))
    whole = token(key, algorithm)
    assert isinstance(judge(checker, whole), Subject)
    claims_end = whole.rindex(".")
    for end in (10, 90, claims_end, claims_end + 1, claims_end + 20, len(whole) - 9, len(whole) - 2):
        error = refused(checker, whole[:end])
        assert (error.code, error_data(error).hint) == ("token_truncated", "Send the whole token: its end is missing.")
    assert refused(checker, whole[:-4] + "AAAA").code == "invalid_token"


def test_claims_that_are_no_object_are_refused() -> None:
    import hashlib
    import hmac

    for payload in ("[1]", "7", "null", '"ada"'):
        from base64 import urlsafe_b64encode

        parts = [urlsafe_b64encode(part).rstrip(b"=") for part in (b'{"alg":"HS256"}', payload.encode())]
        signature = hmac.new(SECRET, b".".join(parts), hashlib.sha256).digest()
        text = b".".join((*parts, urlsafe_b64encode(signature).rstrip(b"="))).decode()
        assert refused(authenticator(), text).code == "invalid_token"


def test_token_of_a_megabyte_is_refused_before_it_is_decoded() -> None:
    error = refused(authenticator(), token(more="x" * (1 << 20)))
    assert error.code == "token_too_large"
    assert error_data(error).hint == "Put fewer claims into the token."


def test_unknown_kid_is_refused_and_a_known_one_chooses_its_key() -> None:
    keys = parse_keys(__import__("json").dumps({"keys": [jwk("ES256", kid="a"), jwk("RS256", kid="b")]}).encode())
    checker = authenticator(*keys)
    assert isinstance(judge(checker, token(private_key("ES256"), "ES256", {"kid": "a"})), Subject)
    assert isinstance(judge(checker, token(private_key("ES256"), "ES256")), Subject)
    assert refused(checker, token(private_key("ES256"), "ES256", {"kid": "c"})).code == "unknown_signing_key"
    assert refused(checker, token(private_key("ES256"), "ES256", {"kid": "b"})).code == "unknown_signing_key"


def test_token_without_kid_is_tried_with_all_keys() -> None:
    keys = [make_secret(bytes([number]) * 64) for number in range(5)]
    checker = authenticator(*keys)
    assert isinstance(judge(checker, token(bytes([4]) * 64)), Subject)
    assert refused(checker, token()).code == "invalid_token"


def test_api_keys_are_left_to_their_authenticator() -> None:
    checker = authenticator()
    assert checker.accepts(Credential(token(), "header"))
    assert checker.accepts(Credential("cut off", "message"))
    assert not checker.accepts(Credential("tdk_id_secret", "header"))


def test_nothing_of_a_token_reaches_errors_logs_and_tracebacks(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    texts = [forged_with_secret({**changes, "note": "secret-claim"}) for changes, _, _ in BAD_CLAIMS.values()]
    for text in (*texts, *BROKEN.values(), token(b"f" * 64)):
        error = refused(authenticator(), text)
        shown = f"{error_data(error)!r}{error!r}{''.join(traceback.format_exception(error))}{caplog.text}"
        assert "secret-" not in shown
        for part in text.split("."):
            assert len(part) < 8 or part not in shown
    results: list[VerifiedToken | AccessError] = []
    verifier = TokenVerifier(
        FixedKeys([make_secret(SECRET)]), TokenPolicy(audiences=(AUDIENCE,)), wall_ns=ManualClock().wall_ns
    )
    text = token(note="secret-claim")
    verifier.verify(text, results.append)
    assert "secret-claim" in payload_of(text)
    assert "secret-claim" not in repr(results)
    assert text not in repr(Credential(text, "header"))


def test_grants_of_a_token_are_those_of_its_claims() -> None:
    rules = GrantRules(CHANNELS, templates=["read data/{sub}.*"])
    subject = judge(authenticator(rules=rules), token())
    assert isinstance(subject, Subject)
    assert subject.grants.names() == ["read data/ada.*", "read global", "read operations/acme.*"]
