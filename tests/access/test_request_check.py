"""The check that every request passes first: requests without the headers of browsers and proxies are remembered."""

from collections.abc import Sequence

import pytest

from tidings.access.origins import Origins
from tidings.access.proxies import TrustedProxies
from tidings.access.request_check import CHECKED_FIELDS, RequestCheck
from tidings.exceptions import OriginRefused

PROXY = "192.0.2.1"
SENT = {
    "host": "localhost:8765",
    "origin": "https://page.example",
    "sec-fetch-site": "cross-site",
    "sec-fetch-mode": "cors",
    "sec-fetch-dest": "empty",
    "forwarded": "for=198.51.100.7;proto=https;host=localhost",
    "x-forwarded-prefix": "/hub",
}


def checks() -> RequestCheck:
    return RequestCheck(Origins(["https://page.example"]), TrustedProxies([PROXY]))


def test_no_other_header_is_read_than_those_that_are_listed() -> None:
    read: set[str] = set()

    def fields(name: str) -> Sequence[str]:
        read.add(name)
        return [SENT[name]] if name in SENT else []

    checks().admit(fields, method="GET", peer=PROXY, scheme="http")
    assert read == {"host", *(name.decode() for name in CHECKED_FIELDS)}


@pytest.mark.parametrize("host", ["localhost:8765", "127.0.0.1", None])
@pytest.mark.parametrize("peer", [PROXY, "127.0.0.1", ""])
def test_remembered_request_comes_from_where_it_came_from(host: str | None, peer: str) -> None:
    check = checks()
    full = check.admit(lambda name: [host] if name == "host" and host else [], method="POST", peer=peer, scheme="http")
    for _ in range(2):
        assert check.admit_plain(host, peer=peer, scheme="http") == full
    assert check.admit_plain(host, peer=peer, scheme="https").scheme == "https"


def test_refused_request_is_refused_again() -> None:
    check = checks()
    for _ in range(2):
        with pytest.raises(OriginRefused):
            check.admit_plain("evil.example", peer=PROXY, scheme="http")


def test_few_requests_are_remembered() -> None:
    check = checks()
    for number in range(5_000):
        check.admit_plain("localhost", peer=f"peer-{number}", scheme="http")
    check.admit_plain(f"{'x' * 1_000}.localhost", peer=PROXY, scheme="http")
    assert len(check.remembered) <= 1_024
    assert all(len(host or "") <= 255 for host, _, _ in check.remembered)
