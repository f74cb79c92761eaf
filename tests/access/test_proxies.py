import pytest

from tidings.access.origins import Origins
from tidings.access.proxies import RequestAddress, TrustedProxies
from tidings.access.request_check import RequestCheck
from tidings.exceptions import ConfigError, OriginRefused, RequestError

PROXIES = TrustedProxies(["10.0.0.0/8", "127.0.0.1", "fd00::/8"], prefix="/configured")
Fields = dict[str, str | list[str]]


def read(fields: Fields, *, peer: str = "10.0.0.1", proxies: TrustedProxies = PROXIES) -> RequestAddress:
    def values(name: str) -> list[str]:
        found = fields.get(name, [])
        return [found] if isinstance(found, str) else found

    return proxies.read(values, peer=peer, scheme="http")


HEADERS: Fields = {
    "host": "hub:8765",
    "x-forwarded-for": "192.0.2.7",
    "x-forwarded-proto": "https",
    "x-forwarded-host": "hub.example.com",
    "x-forwarded-prefix": "/tidings",
}


def test_headers_of_a_trusted_proxy_count() -> None:
    assert read(HEADERS) == RequestAddress(
        client="192.0.2.7", peer="10.0.0.1", scheme="https", host="hub.example.com", prefix="/tidings"
    )


@pytest.mark.parametrize("proxies", [PROXIES, TrustedProxies()])
@pytest.mark.parametrize("peer", ["192.0.2.1", "", "not an address"])
def test_headers_of_anyone_else_do_not_count(proxies: TrustedProxies, peer: str) -> None:
    prefix = "/configured" if proxies is PROXIES else ""
    standard: Fields = {"host": "hub:8765", "forwarded": "for=192.0.2.7;proto=https;host=evil"}
    for fields in (HEADERS, standard):
        assert read(fields, peer=peer, proxies=proxies) == RequestAddress(
            client=peer, peer=peer, scheme="http", host="hub:8765", prefix=prefix
        )


@pytest.mark.parametrize(
    ("entries", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("203.0.113.9, 192.0.2.7", "192.0.2.7"),
        ("203.0.113.9, 192.0.2.7, 10.9.9.9, 127.0.0.1", "192.0.2.7"),
        ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("192.0.2.7:4711", "192.0.2.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:DB8::7]:4711", "2001:db8::7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("192.0.2.7, ::ffff:10.0.0.2", "192.0.2.7"),
        ("192.0.2.7, unknown", "10.0.0.1"),
        ("192.0.2.7, unknown, 10.0.0.2", "10.0.0.2"),
        ("192.0.2.7, <script>", "10.0.0.1"),
        ("192.0.2.7,", "10.0.0.1"),
        ("", "10.0.0.1"),
    ],
)
def test_right_most_address_that_is_not_a_proxy_is_the_client(entries: str, client: str) -> None:
    assert read({"x-forwarded-for": entries}).client == client
    assert read({"x-forwarded-for": entries.split(",")}).client == client, "one line for each"
    if "<" not in entries and not entries.endswith(","):
        nodes = [f'for="{entry.strip()}"' for entry in entries.split(",")]
        assert read({"forwarded": ", ".join(nodes)}).client == client


@pytest.mark.parametrize(
    ("schemes", "scheme"),
    [("https", "https"), ("https, http", "https"), ("http, https, http", "https"), ("wss", "https")],
)
def test_scheme_is_the_one_that_the_client_used(schemes: str, scheme: str) -> None:
    assert read({"x-forwarded-for": "192.0.2.7, 10.0.0.2", "x-forwarded-proto": schemes}).scheme == scheme


def test_forwarded_gives_what_the_proxy_next_to_the_client_reports() -> None:
    elements = [
        "for=203.0.113.9;host=evil.example",
        'For="[2001:db8::7]:47";Proto=https;host="hub.example.com"',
        "for=10.0.0.2;proto=http",
    ]
    address = read({"host": "hub:8765", "forwarded": ", ".join(elements)})
    assert (address.client, address.scheme, address.host) == ("2001:db8::7", "https", "hub.example.com")
    assert address.prefix == "/configured"
    lacking = read({"forwarded": 'for=192.0.2.7, for=10.0.0.2;proto=https;host=a;by=_x;ext="a;b,c"'})
    assert (lacking.client, lacking.scheme, lacking.host) == ("192.0.2.7", "https", "a")


@pytest.mark.parametrize("value", ['for="192.0.2.7', "for", "for=192.0.2.7 proto=https", ";;", "for=[::1]x y"])
def test_invalid_forwarded_is_refused(value: str) -> None:
    with pytest.raises(RequestError, match="invalid Forwarded"):
        read({"forwarded": value})


def test_families_that_contradict_each_other_are_refused() -> None:
    agreed: Fields = {
        "forwarded": "for=192.0.2.7;proto=https",
        "x-forwarded-for": "192.0.2.7",
        "x-forwarded-proto": "https",
    }
    assert read(agreed).client == "192.0.2.7"
    contradictions: list[Fields] = [
        {"forwarded": "for=203.0.113.9;proto=https"},
        {"forwarded": "for=192.0.2.7;proto=http"},
        {"forwarded": "for=192.0.2.7;proto=https;host=evil.example"},
        {"x-forwarded-host": "evil.example"},
    ]
    for other in contradictions:
        with pytest.raises(RequestError, match="contradict"):
            read({**agreed, **other})


@pytest.mark.parametrize("scheme", ["ftp", "https://", "javascript"])
def test_invalid_scheme_is_refused(scheme: str) -> None:
    with pytest.raises(RequestError, match="invalid scheme"):
        read({"x-forwarded-proto": scheme})


def test_prefixes_of_several_proxies_follow_each_other() -> None:
    assert read({"x-forwarded-prefix": ["/outer/", "/inner"]}).prefix == "/outer/inner"
    assert read({"x-forwarded-prefix": "/"}).prefix == "/configured"


@pytest.mark.parametrize("prefix", ["//evil.example", "/<script>", "/a/../b", "/./a", "evil", "/a?b", "/a//b"])
def test_invalid_prefix_is_refused(prefix: str) -> None:
    with pytest.raises(RequestError, match="invalid X-Forwarded-Prefix"):
        read({"x-forwarded-prefix": prefix})
    with pytest.raises(ConfigError) as caught:
        TrustedProxies(prefix=prefix)
    assert caught.value.option == "root-path"


@pytest.mark.parametrize("network", ["10.0.0.1/8", "proxy.example", "", "10.0.0.0/33", "*"])
def test_invalid_network_raises(network: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TrustedProxies([network])
    assert caught.value.option == "trusted-proxy"


@pytest.mark.parametrize(
    ("path", "inner"),
    [("/t/ws", "/ws"), ("/t", "/"), ("/t/", "/"), ("/ws", "/ws"), ("/tt/ws", "/tt/ws"), ("/t/t", "/t")],
)
def test_relative_path_has_no_prefix(path: str, inner: str) -> None:
    assert read({}, peer="192.0.2.1", proxies=TrustedProxies(prefix="/t")).relative(path) == inner


def test_page_whose_name_leads_to_the_proxys_machine_cannot_name_the_hub_itself() -> None:
    check = RequestCheck(Origins(hosts=["hub.example.com"]), TrustedProxies(["127.0.0.1"]))
    fields = {"host": ["rebound.example:8765"], "x-forwarded-host": ["hub.example.com"]}
    with pytest.raises(OriginRefused, match="rebound"):
        check.admit(lambda name: fields.get(name, []), method="GET", peer="127.0.0.1", scheme="http")
    fields["host"] = ["127.0.0.1:8765"]
    address = check.admit(lambda name: fields.get(name, []), method="GET", peer="127.0.0.1", scheme="http")
    assert address.host == "hub.example.com"
