import pytest

from tidings.access.credentials import ask_for_credential, find_credential, find_misplaced
from tidings.access.subjects import Credential
from tidings.exceptions import CredentialInURL, InvalidToken


@pytest.mark.parametrize(
    ("headers", "query", "cookie", "expected"),
    [
        ({}, "", "", None),
        ({"authorization": "Bearer abc"}, "", "", Credential("abc", "header")),
        ({"authorization": "bearer  abc "}, "", "", Credential("abc", "header")),
        ({"authorization": "Bearer"}, "", "", None),
        ({"authorization": "Basic dXNlcjpwYXNz"}, "", "", None),
        ({"authorization": "Basic dXNlcjpwYXNz"}, "ticket=tdt_1", "", Credential("tdt_1", "ticket")),
        ({"authorization": "Bearer abc"}, "ticket=tdt_1", "", Credential("abc", "header")),
        ({}, "channel=data&ticket=tdt%5F1", "", Credential("tdt_1", "ticket")),
        ({}, "ticket=", "", None),
        ({"cookie": "a=1; sid=s3"}, "", "", None),
        ({"cookie": "a=1; sid=s3"}, "", "sid", Credential("s3", "cookie")),
        ({"cookie": 'sid="s3"; other=sid=9'}, "", "sid", Credential("s3", "cookie")),
        ({"cookie": "sid=s3; sid=s3"}, "", "sid", Credential("s3", "cookie")),
        ({"cookie": "sid=s3; sid=planted"}, "", "sid", None),
        ({"cookie": "xsid=s3"}, "", "sid", None),
    ],
)
def test_credential_is_found_where_clients_put_it(
    headers: dict[str, str], query: str, cookie: str, expected: Credential | None
) -> None:
    assert find_credential(headers, query, cookie=cookie) == expected


@pytest.mark.parametrize(
    "query", ["token=s3cret", "a=1&access_token=s3cret", "JWT=s3cret", "api%5Fkey=s3cret", "token"]
)
def test_secret_in_the_url_is_refused_without_repeating_it(query: str) -> None:
    with pytest.raises(CredentialInURL) as caught:
        find_credential({"authorization": "Bearer abc"}, query)
    assert "s3cret" not in str(caught.value)


def test_credential_does_not_show_its_value() -> None:
    assert "abc" not in repr(find_credential({"authorization": "Bearer abc"}, ""))


KEY = "tdk_k3v7ab2q_s3cret"
JWT = "eyJhbGciOiJub25lIn0.s3cret."


@pytest.mark.parametrize("value", [KEY, JWT, f"Basic {KEY}", f"Token {JWT}", f"ApiKey  {KEY}"])
def test_credential_without_bearer_is_explained_and_not_repeated(value: str) -> None:
    headers = {"authorization": value}
    assert find_credential(headers, "") is None
    for error in (find_misplaced(headers), ask_for_credential(headers)):
        assert isinstance(error, InvalidToken)
        assert "Authorization: Bearer TOKEN" in error.hint
        assert "s3cret" not in f"{error} {error.hint}"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Basic dXNlcjpzM2NyZXQ=", "the scheme `Basic` of `Authorization` is for others"),
        ("Bearer", "`Authorization: Bearer` without a token"),
        ("s3cret", "the scheme of `Authorization` is for others"),
        ("s3cret! x", "the scheme of `Authorization` is for others"),
        ("", "this hub asks for a credential"),
    ],
)
def test_request_without_a_credential_is_told_what_it_has_instead(value: str, text: str) -> None:
    headers = {"authorization": value}
    assert find_misplaced(headers) is None
    error = ask_for_credential(headers)
    assert error.code == "unauthenticated"
    assert text in str(error)
    assert "s3cret" not in f"{error} {error.hint}"
