import json
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jwt
import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    PublicFormat,
)
from tests.access.tokens import SECRET, jwk, jwk_set, private_key, private_pem, public_pem

from tidings.access.signing_keys import (
    ALGORITHMS,
    MAX_KEY_FILE_BYTES,
    UnusableKey,
    check_algorithms,
    make_secret,
    parse_keys,
    read_key_file,
    read_secret_file,
    sign,
)
from tidings.exceptions import ConfigError

RSA = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
FAMILIES = {"RS256": RSA, "ES256": {"ES256"}, "ES384": {"ES384"}, "ES512": {"ES512"}, "EdDSA": {"EdDSA"}}


@pytest.mark.parametrize("algorithm", FAMILIES)
def test_public_key_has_the_algorithms_of_its_family(algorithm: str) -> None:
    (pem,) = parse_keys(public_pem(algorithm))
    (single,) = parse_keys(json.dumps(jwk(algorithm, kid="k")).encode())
    (listed,) = parse_keys(jwk_set(jwk(algorithm, use="sig", alg=algorithm)))
    assert pem.algorithms == single.algorithms == FAMILIES[algorithm]
    assert (single.kid, listed.kid) == ("k", None)
    assert listed.algorithms == {algorithm}


def test_certificate_holds_a_public_key() -> None:
    authority = trustme.CA()
    (key,) = parse_keys(authority.cert_pem.bytes())
    assert key.algorithms == {"ES256"}


def test_set_leaves_out_keys_that_cannot_verify() -> None:
    keys = parse_keys(
        jwk_set(
            jwk("RS256", kid="good"),
            jwk("RS256", kid="encrypts", use="enc"),
            jwk("RS256", kid="wraps", key_ops=["wrapKey"]),
            jwk("RS256", kid="foreign", alg="RSA-OAEP"),
            jwk("RS256", kid="confused", alg="HS256"),
            jwk("ES256", private=True, kid="private"),
            {"kty": "XYZ"},
            {"kty": "RSA", "n": "!", "e": 7},
            {"kid": "nothing"},
            {"kty": "RSA", "kid": 7},
        )
    )
    assert [key.kid for key in keys] == ["good"]


BAD_KEYS: dict[str, bytes] = {
    "empty": b"",
    "words": b"not a key",
    "number": b"7",
    "no keys": b'{"keys": []}',
    "unusable keys": jwk_set({"kty": "XYZ"}),
    "deep": b"[" * 100_000,
    "private PEM": private_pem("RS256"),
    "private JWK": json.dumps(jwk("ES256", private=True)).encode(),
    "cut PEM": public_pem("RS256")[:100],
    "short RSA": rsa.generate_private_key(public_exponent=65_537, key_size=1_024)
    .public_key()
    .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    "DSA": dsa.generate_private_key(1_024).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    "foreign curve": ec.generate_private_key(ec.SECP256K1())
    .public_key()
    .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    "short oct": b'{"kty": "oct", "k": "c2hvcnQ"}',
    "many keys": jwk_set(*[jwk("ES256")] * 101),
}


@pytest.mark.parametrize("case", BAD_KEYS)
def test_unusable_key_file_is_an_error_of_its_option(case: str, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(BAD_KEYS[case])
    with pytest.raises(ConfigError) as caught:
        read_key_file(file, option="jwt_public_key")
    assert (caught.value.option, bool(caught.value.hint)) == ("jwt_public_key", True)
    assert str(file) in caught.value.message


def test_error_of_a_key_contains_nothing_of_it() -> None:
    secret = json.dumps({"kty": "XYZ", "d": "very-secret"}).encode()
    with pytest.raises(UnusableKey) as caught:
        parse_keys(secret)
    assert "very-secret" not in repr(caught.value)
    assert caught.value.__suppress_context__
    (key,) = parse_keys(private_pem("ES256"), private=True)
    assert "PRIVATE" not in repr(key)
    assert SECRET.decode() not in repr(make_secret(SECRET))


@pytest.mark.parametrize(
    ("secret", "algorithms"), [(32, {"HS256"}), (48, {"HS256", "HS384"}), (64, {"HS256", "HS384", "HS512"})]
)
def test_secret_has_the_algorithms_that_it_is_long_enough_for(secret: int, algorithms: set[str]) -> None:
    assert make_secret(b"s" * secret).algorithms == algorithms


@pytest.mark.parametrize(
    "secret", [b"", b"s" * 31, public_pem("RS256"), public_pem("ES256"), json.dumps(jwk("RS256")).encode(),
               b"ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQ== x" * 2]
)  # fmt: skip
def test_secret_that_everyone_may_have_is_refused(secret: bytes, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(secret)
    with pytest.raises(ConfigError) as caught:
        read_secret_file(file, option="jwt_secret_file")
    assert "openssl rand" in caught.value.hint


def test_line_end_of_a_secret_file_is_not_a_part_of_it(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(SECRET + b"\r\n")
    (key,) = read_secret_file(file, option="jwt_secret_file")
    assert key.material == SECRET


def test_missing_and_huge_key_files_are_errors(tmp_path: Path) -> None:
    for read in (read_key_file, read_secret_file):
        with pytest.raises(ConfigError, match="No such file"):
            read(tmp_path / "none", option="o")
        with pytest.raises(ConfigError, match="directory"):
            read(tmp_path, option="o")
        huge = tmp_path / "huge"
        huge.write_bytes(b"x" * (MAX_KEY_FILE_BYTES + 1))
        with pytest.raises(ConfigError, match="larger than 1 MiB"):
            read(huge, option="o")


def test_key_file_that_others_may_write_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "key"
    file.write_bytes(public_pem("ES256"))
    file.chmod(0o644)
    with caplog.at_level(logging.WARNING):
        read_key_file(file, option="o")
        assert caplog.text == ""
        file.chmod(0o666)
        read_key_file(file, option="o")
    assert "chmod go-w" in caplog.text


def test_secret_that_others_may_read_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "secret"
    file.write_bytes(SECRET)
    with caplog.at_level(logging.WARNING):
        file.chmod(0o600)
        read_secret_file(file, option="o")
        assert caplog.text == ""
        file.chmod(0o644)
        read_secret_file(file, option="o")
    assert "other users may read the secret in" in caplog.text
    assert "chmod 600" in caplog.text


def test_key_file_of_a_hub_is_no_pipe_which_could_stop_it(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ConfigError, match="expected a regular file"):
        read_key_file(pipe, option="o", reloads=True)
    with pytest.raises(ConfigError, match="expected a regular file"):
        read_secret_file(pipe, option="o", reloads=True)


def test_key_of_a_command_may_come_from_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(pipe.write_bytes, SECRET)
        (key,) = read_secret_file(pipe, option="o")
        writing.result(60)
    assert "HS256" in key.algorithms


def test_certificate_as_pem_in_a_key_does_not_turn_the_set_into_a_pem_file() -> None:
    text = jwk_set(jwk("ES256", kid="a", x5c=["-----BEGIN CERTIFICATE-----"]))
    assert [key.kid for key in parse_keys(text)] == ["a"]


def test_algorithms_of_an_option_are_checked() -> None:
    assert check_algorithms(["ES256", "RS256", "ES256"], option="o") == ("ES256", "RS256")
    for wrong in (["none"], ["HS256", "XY"], []):
        with pytest.raises(ConfigError, match="algorithm"):
            check_algorithms(wrong, option="o")
    with pytest.raises(UnusableKey, match="none of which is allowed"):
        parse_keys(public_pem("ES256"), ["RS256"])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_signed_token_is_verified_with_the_public_key(algorithm: str) -> None:
    claims: dict[str, Any] = {"sub": "ada"}
    if algorithm.startswith("HS"):
        text = sign(claims, make_secret(SECRET), algorithm)
        assert jwt.decode(text, SECRET, algorithms=[algorithm]) == claims
        return
    (key,) = parse_keys(private_pem(algorithm), private=True)
    assert jwt.decode(sign(claims, key, algorithm), private_key(algorithm).public_key(), [algorithm]) == claims
    assert jwt.get_unverified_header(sign(claims, key))["alg"] in key.algorithms


def test_signing_key_must_be_private_and_not_encrypted() -> None:
    with pytest.raises(UnusableKey, match="public key"):
        parse_keys(public_pem("EdDSA"), private=True)
    encrypted = private_key("EdDSA").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    with pytest.raises(UnusableKey, match="encrypted"):
        parse_keys(encrypted, private=True)
    with pytest.raises(UnusableKey, match="the key is for HS256"):
        sign({}, make_secret(SECRET), "RS256")
