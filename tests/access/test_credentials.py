import pytest

from tidings.access.credentials import find_credential
from tidings.access.subjects import Credential
from tidings.exceptions import CredentialInURL


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
