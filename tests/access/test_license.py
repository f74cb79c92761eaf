import os
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tidings.access.license import (
    License,
    decode_license,
    issue_license,
    key_id,
    read_license_file,
    read_private_key,
    read_public_key,
    verify_license,
)
from tidings.exceptions import InvalidLicense, LicenseNotYetValid, LicenseOfAnotherKey, TidingsError, UnsafeFile

NOW_NS = 1_750_000_000 * 10**9
DAY_NS = 86_400 * 10**9
KEY = Ed25519PrivateKey.generate()
LICENSE = License(
    license_id="lic-1", subject="ACME GmbH", issued_ns=NOW_NS, begins_ns=NOW_NS, expires_ns=NOW_NS + 365 * DAY_NS
)
HEADERS = {"typ": "tidings-license+jwt", "kid": key_id(KEY.public_key())}
CLAIMS = {"jti": "lic-1", "sub": "ACME", "iat": NOW_NS // 10**9, "exp": NOW_NS // 10**9 + 86_400}


def verify(text: str, *, now_ns: int = NOW_NS) -> License:
    return verify_license(text.encode(), "a.jwt", KEY.public_key(), now_ns)


def sign(claims: dict[str, Any] | None = None, headers: dict[str, Any] | None = None, key: Any = KEY) -> str:
    return jwt.encode(CLAIMS if claims is None else claims, key, algorithm="EdDSA", headers=headers or HEADERS)


def test_license_is_read_back_also_with_a_line_end_and_after_expiry() -> None:
    text = issue_license(LICENSE, KEY)
    assert verify(f"{text}\n") == LICENSE
    assert verify(text, now_ns=LICENSE.expires_ns + DAY_NS) == LICENSE
    assert decode_license(text.encode(), "a.jwt") == LICENSE


def test_clock_before_the_beginning_has_its_own_error_that_names_the_skew() -> None:
    text = issue_license(LICENSE, KEY)
    assert verify(text, now_ns=NOW_NS - 300 * 10**9) == LICENSE
    with pytest.raises(LicenseNotYetValid, match="begins at 2025-06-15T15:06:40Z") as caught:
        verify(text, now_ns=NOW_NS - 400 * DAY_NS)
    assert "which is 400 days earlier" in caught.value.hint
    later = issue_license(structs.replace(LICENSE, begins_ns=NOW_NS + 3 * DAY_NS), KEY)
    with pytest.raises(LicenseNotYetValid, match=r"begins at 2025-06-18"):
        verify(later)


def test_license_of_another_key_and_a_changed_one_are_distinguished() -> None:
    other = Ed25519PrivateKey.generate()
    with pytest.raises(LicenseOfAnotherKey, match=f"signed with the key {key_id(other.public_key())}"):
        verify(issue_license(LICENSE, other))
    with pytest.raises(InvalidLicense, match="was changed or damaged"):
        verify(sign(key=other))  # names our key
    with pytest.raises(LicenseOfAnotherKey, match="signed with another key, or was changed"):
        verify(sign(headers={"typ": "tidings-license+jwt"}, key=other))
    text = issue_license(LICENSE, KEY)
    head, body, signature = text.split(".")
    forged = issue_license(structs.replace(LICENSE, expires_ns=NOW_NS + 9_999 * DAY_NS), other).split(".")[1]
    for changed in (f"{head}.{forged}.{signature}", f"{head}.{body}.{signature[:-8]}AAAAAAAA"):
        with pytest.raises(InvalidLicense):
            verify(changed)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "license",
        "a.b.c",
        issue_license(LICENSE, KEY)[:-90],
        issue_license(LICENSE, KEY) + "." + "x",
        "é" * 20,
        "x" * 70_000,
        jwt.encode(CLAIMS, "s" * 32, algorithm="HS256", headers=HEADERS),
        jwt.encode(CLAIMS, "", algorithm="none", headers=HEADERS),
        sign(headers={"typ": "JWT", "kid": HEADERS["kid"]}),
        sign({**CLAIMS, "jti": ""}),
        sign({**CLAIMS, "sub": "a\nb"}),
        sign({**CLAIMS, "sub": "a" * 256}),
        sign({**CLAIMS, "exp": 1e300}),
        sign({**CLAIMS, "exp": 10**15}),
        sign({**CLAIMS, "iat": -1}),
        sign({name: value for name, value in CLAIMS.items() if name != "exp"}),
        sign({**CLAIMS, "exp": "soon"}),
        sign({}),
    ],
    ids=lambda text: text[:10],
)
def test_damaged_license_is_refused_with_a_code_and_a_hint(text: str) -> None:
    with pytest.raises(TidingsError) as caught:
        verify(text)
    assert caught.value.code == "invalid_license"
    assert caught.value.message.startswith("invalid license a.jwt: ")


@given(st.binary(max_size=300) | st.text(alphabet="eyJ.abAB01-_=", max_size=300).map(str.encode))
def test_any_bytes_are_an_invalid_license(data: bytes) -> None:
    for prefix in (b"", issue_license(LICENSE, KEY).encode()[:-1]):
        with pytest.raises(TidingsError):
            verify_license(prefix + data + b"!", "a.jwt", KEY.public_key(), NOW_NS)


def pem(key: Any) -> bytes:
    public: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return public


def private_pem(key: Any, password: bytes | None = None) -> bytes:
    encryption = NoEncryption() if password is None else BestAvailableEncryption(password)
    text: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    return text


def test_keys_are_read_from_pem_files(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(pem(KEY))
    file.chmod(0o644)
    assert key_id(read_public_key(file)) == key_id(KEY.public_key())
    file.write_bytes(private_pem(KEY))
    with pytest.raises(UnsafeFile, match="other users can read it"):
        read_private_key(file)
    file.chmod(0o600)
    assert key_id(read_private_key(file).public_key()) == key_id(KEY.public_key())


@pytest.mark.parametrize(
    ("data", "read"),
    [
        (b"", read_public_key),
        (b"-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----\n", read_public_key),
        (private_pem(KEY), read_public_key),
        (pem(generate_private_key(65_537, 2_048)), read_public_key),
        (pem(KEY), read_private_key),
        (private_pem(KEY, b"secret"), read_private_key),
        (private_pem(generate_private_key(65_537, 2_048)), read_private_key),
    ],
)
def test_wrong_key_file_is_refused_without_its_contents(tmp_path: Path, data: bytes, read: Any) -> None:
    file = tmp_path / "key"
    file.write_bytes(data)
    file.chmod(0o600)
    with pytest.raises(InvalidLicense, match=r"invalid (public|private) key") as caught:
        read(file)
    assert "openssl" in caught.value.hint
    assert caught.value.__cause__ is None or read is read_public_key
    with pytest.raises(InvalidLicense, match="No such file"):
        read(tmp_path / "absent")


def test_license_that_others_can_change_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.jwt"
    file.write_text(issue_license(LICENSE, KEY))
    file.chmod(0o644)
    assert read_license_file(file)
    os.chmod(file, 0o664)
    with pytest.raises(UnsafeFile, match="other users can write it"):
        read_license_file(file)
