import contextlib
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tidings.access.keys import (
    MAX_API_KEYS,
    ApiKey,
    ApiKeyAuthenticator,
    decode_key,
    decode_keys,
    encode_key,
    encode_keys,
    generate_key,
    merge_keys,
)
from tidings.access.subjects import AccessRequest, Credential, Subject
from tidings.exceptions import (
    AccessError,
    ApiKeyExpired,
    CredentialRevoked,
    InvalidKeyFile,
    UnknownApiKey,
)

CHANNELS = ("global", "operations", "data", "system")
NOW_NS = 1_750_000_000 * 10**9
DAY_NS = 86_400 * 10**9


class Hub:
    """An authenticator, and the clock that it reads."""

    def __init__(self) -> None:
        self.now_ns = NOW_NS
        self.authenticator = ApiKeyAuthenticator(CHANNELS, lambda: self.now_ns)

    def ask(self, text: str) -> Subject | AccessError:
        results: list[Subject | AccessError] = []
        credential = Credential(text, "header")
        assert self.authenticator.accepts(credential)
        self.authenticator.authenticate(credential, AccessRequest(), results.append)
        (result,) = results
        return result


def make(name: str = "ci", *grants: str, expires_ns: int | None = None) -> tuple[ApiKey, str]:
    return generate_key(name, grants or ("read data",), now_ns=NOW_NS, expires_ns=expires_ns)


def test_merged_keys_have_the_shared_line_but_never_another_secret() -> None:
    own, theirs, foreign = make("own")[0], make("theirs")[0], make("foreign")[0]
    newer = structs.replace(own, grants=("read *",))
    stolen = structs.replace(foreign, id=own.id)
    assert merge_keys([own], [theirs]) == [own, theirs]
    assert merge_keys([own], [newer]) == [newer]
    assert merge_keys([own], [stolen]) == [own]
    revoked = structs.replace(own, revoked="2026-01-01T00:00:00Z")
    assert [key.revoked for pair in ([[own], [revoked]], [[revoked], [own]]) for key in merge_keys(*pair)] == [
        revoked.revoked
    ] * 2


@given(st.binary(max_size=300))
def test_any_line_of_a_key_is_read_or_refused(line: bytes) -> None:
    with contextlib.suppress(ValueError):
        decode_key(line)
    key = make()[0]
    assert decode_key(encode_key(key)) == key


def test_key_identifies_its_subject() -> None:
    hub = Hub()
    key, text = make("ci", "publish operations/ci.*", "details")
    hub.authenticator.replace_keys([make("other")[0], key])
    subject = hub.ask(text)
    assert isinstance(subject, Subject)
    assert (subject.name, subject.credential_id, subject.issued_ns, subject.expires_ns) == ("ci", key.id, NOW_NS, None)
    assert subject.grants.names() == ["publish operations/ci.*", "details"]


def test_keys_are_read_again_before_an_unknown_one_is_refused() -> None:
    (old, _), (new, text) = make("old"), make("new")
    calls: list[str] = []

    def refresh() -> None:
        calls.append("refresh")
        authenticator.replace_keys([old, new] if len(calls) == 2 else [old])

    authenticator = ApiKeyAuthenticator(CHANNELS, lambda: NOW_NS, refresh)
    results: list[Subject | AccessError] = []
    for _ in range(3):
        authenticator.authenticate(Credential(text, "header"), AccessRequest(), results.append)
    assert isinstance(results[0], UnknownApiKey)
    assert [each.name for each in results[1:] if isinstance(each, Subject)] == ["new", "new"]
    assert len(calls) == 2, "a known key costs no look at the file"


def test_key_file_holds_no_secret() -> None:
    key, text = make()
    stored = encode_keys([key]).decode()
    assert text not in stored
    assert text.rpartition("_")[2] not in stored
    assert hashlib.sha256(text.encode()).hexdigest() in stored
    assert text.rpartition("_")[2] not in repr(Credential(text, "header"))


def test_keys_are_random_and_of_one_form() -> None:
    texts = {make()[1] for _ in range(200)}
    assert len(texts) == 200
    assert {len(text) for text in texts} == {65}


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-1] + ("a" if text[-1] != "a" else "b"),
        lambda text: text[:-1],
        lambda text: text + "a",
        lambda text: text.upper().replace("TDK_", "tdk_"),
        lambda text: "tdk_",
        lambda text: text.replace(text[4:12], "aaaaaaaa"),
        lambda text: text + "\n",
        lambda text: text[:20] + "é" + text[21:],
        lambda text: text * 1000,
    ],
)
def test_wrong_key_is_unknown_and_not_repeated(change: "object") -> None:
    hub = Hub()
    key, text = make()
    hub.authenticator.replace_keys([key])
    wrong = change(text)  # type: ignore[operator]
    error = hub.ask(wrong)
    assert isinstance(error, UnknownApiKey)
    assert wrong[14:] not in str(error) + error.hint + error.details or len(wrong) < 20
    assert hub.authenticator.take_used() == {}


def test_revoked_and_expired_keys_have_their_own_errors() -> None:
    hub = Hub()
    expiring, expiring_text = make("a", expires_ns=NOW_NS + DAY_NS)
    revoked, revoked_text = make("b")
    gone = decode_keys(encode_keys([revoked]).replace(b'"name"', b'"revoked":"2025-06-15T15:06:40Z","name"'), "f")
    hub.authenticator.replace_keys([expiring, *gone])
    assert isinstance(hub.ask(revoked_text), CredentialRevoked)
    assert isinstance(hub.ask(revoked_text[:-1] + ("3" if revoked_text.endswith("2") else "2")), UnknownApiKey), (
        "only the holder learns that it was revoked"
    )
    hub.now_ns = NOW_NS + DAY_NS - 1
    assert isinstance(hub.ask(expiring_text), Subject)
    hub.now_ns += 1
    assert isinstance(hub.ask(expiring_text), ApiKeyExpired)


def test_keys_with_equal_grants_share_one_object_also_after_a_change() -> None:
    hub = Hub()
    made = [make(name, "read data", "publish data") for name in ("a", "b")]
    hub.authenticator.replace_keys([made[0][0]])
    hub.authenticator.replace_keys([key for key, _ in made])
    first, second = (hub.ask(text) for _, text in made)
    assert isinstance(first, Subject)
    assert isinstance(second, Subject)
    assert first.grants is second.grants


def test_invalid_grant_keeps_the_keys_so_far() -> None:
    hub = Hub()
    key, text = make()
    hub.authenticator.replace_keys([key])
    with pytest.raises(InvalidKeyFile, match="invalid grant 'fly data'"):
        hub.authenticator.replace_keys([make("b", "fly data")[0]])
    assert isinstance(hub.ask(text), Subject)


def test_use_is_recorded_with_its_time_until_it_is_taken() -> None:
    hub = Hub()
    key, text = make()
    hub.authenticator.replace_keys([key])
    hub.ask(text)
    hub.now_ns += 5
    hub.ask(text)
    assert hub.authenticator.take_used() == {key.id: NOW_NS + 5}
    assert hub.authenticator.take_used() == {}


LINE = encode_keys([make()[0]]).split(b"\n")[1]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it is empty"),
        (b"\n\n", "it is empty"),
        (LINE, "line 1"),
        (b'{"tidings_keys":2}\n' + LINE, "line 1: version 2 is not supported"),
        (b'{"tidings_keys":1}\n' + LINE[:-9], "line 2"),
        (b'{"tidings_keys":1}\n\n' + LINE + b"\n" + LINE, "line 4: the id '[a-z2-7]{8}' is repeated"),
        (b'{"tidings_keys":1}\n' + LINE.replace(b'"name":"ci"', b'"name":"a\\nb"'), "line 2: invalid name"),
        (
            b'{"tidings_keys":1}\n' + LINE.replace(b'"name":"ci"', b'"name":"ci","expires":"soon"'),
            "line 2: invalid time",
        ),
        (b'{"tidings_keys":1}\n' + LINE.replace(b'"sha256":"', b'"sha256":"0'), "line 2"),
        (b'{"tidings_keys":1}\n' + LINE.replace(b'"name":"ci"', b'"name":"ci","expire":"x"'), "line 2"),
        (b'{"tidings_keys":1}\n\xff\xfe', "line 2"),
        (b"\x00" * 100, "line 1"),
    ],
)
def test_damaged_file_is_refused_whole_with_its_line(data: bytes, message: str) -> None:
    with pytest.raises(InvalidKeyFile, match=f"invalid key file keys.jsonl.*{message}"):
        decode_keys(data, "keys.jsonl")


PARTS = st.sampled_from([LINE, b"{", b"}", b"[" * 5_000, b"\n", b'"a":1'])


@given(st.binary(max_size=200) | st.lists(PARTS).map(b"".join))
def test_any_bytes_are_keys_or_an_invalid_file(data: bytes) -> None:
    with contextlib.suppress(InvalidKeyFile):
        decode_keys(b'{"tidings_keys":1}\n' + data, "f")


@given(st.text())
def test_any_text_is_an_unknown_key(text: str) -> None:
    error = Hub().ask(f"tdk_{text}")
    assert isinstance(error, UnknownApiKey)


def test_file_with_too_many_keys_is_refused() -> None:
    one = make()[0]
    keys = [structs.replace(one, id=f"k{number}") for number in range(MAX_API_KEYS + 1)]
    assert len(decode_keys(encode_keys(keys[1:]), "f")) == MAX_API_KEYS
    with pytest.raises(InvalidKeyFile, match="10,001 keys"):
        decode_keys(encode_keys(keys), "f")
