import pytest

from tidings.exceptions import InvalidParameter, InvalidPath, InvalidPosition, NotSupported, UnknownChannel
from tidings.hub.config import round_pace
from tidings.hub.connection_query import FOREIGN_PARAMETERS, parse_connection_query, query_pairs, read_values
from tidings.protocol.positions import Position

CHANNELS = ("global", "operations", "data", "system")


def test_empty_query_reads_all_paths_from_now() -> None:
    options = parse_connection_query("", CHANNELS)
    assert options.paths.names() == ["data", "global", "operations", "system"]
    assert (options.named, options.since, options.pace_ms) == (False, "now", 0)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("channel=operations", ["global", "operations"]),
        ("channel=operations&channel=data", ["data", "global", "operations"]),
        ("channels=operations,data", ["data", "global", "operations"]),
        ("channel=operations%2Fa%2Cb", ["global", "operations/a,b"]),
        ("channels=operations%2Fa%2Cb,data", ["data", "global", "operations/a,b"]),
        ("channels=operations/acme.*", ["global", "operations/acme.*"]),
        ("channel=operations/a+b", ["global", "operations/a b"]),
        ("channels=operations/a+b,operations/c%2B%2B", ["global", "operations/a b", "operations/c++"]),
        ("channels=none", []),
        ("channels=*", ["data", "global", "operations", "system"]),
    ],
)
def test_query_with_paths_reads_those_paths(query: str, names: list[str]) -> None:
    options = parse_connection_query(query, CHANNELS)
    assert (options.paths.names(), options.named) == (names, True)


@pytest.mark.parametrize(
    ("query", "since"),
    [
        ("since=snapshot", "snapshot"),
        ("since=", "first"),
        ("since=first", "first"),
        ("since=ab12%3A7", Position("ab12", 7)),
        ("since=now&since=ab12:8", Position("ab12", 8)),
    ],
)
def test_since_in_query_is_parsed_like_the_command(query: str, since: Position | str) -> None:
    assert parse_connection_query(query, CHANNELS).since == since


def test_query_may_name_a_revision() -> None:
    assert parse_connection_query("", CHANNELS).revision == "2025-07-30"
    for date in ("2025-07-30", "2025-01-30"):
        assert parse_connection_query(f"contract={date}", CHANNELS).revision == date
    with pytest.raises(NotSupported):
        parse_connection_query("contract=2025-01-31", CHANNELS)


def test_absent_since_takes_the_callers_default() -> None:
    assert parse_connection_query("", CHANNELS, default_since="snapshot").since == "snapshot"


@pytest.mark.parametrize(
    ("requested", "given"), [(-5, 0), (0, 0), (1, 50), (50, 50), (51, 100), (999, 1000), (1001, 5000), (10**8, 5000)]
)
def test_pace_is_rounded_up(requested: int, given: int) -> None:
    assert round_pace(requested) == given
    if requested >= 0:
        assert parse_connection_query(f"pace_ms={requested}", CHANNELS).pace_ms == given


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("channel=nonsense", UnknownChannel),
        ("channel=/a", InvalidPath),
        ("channels=", InvalidPath),
        ("channel=operations/%FF", InvalidPath),
        ("since=yesterday", InvalidPosition),
        ("pace_ms=fast", InvalidParameter),
        ("pace_ms=-1", InvalidParameter),
        ("pace_ms=", InvalidParameter),
        ("pace_ms=%D9%A3", InvalidParameter),
        ("pace_ms=1000000000", InvalidParameter),
        ("chanel=data", InvalidParameter),
        ("since=%FF", InvalidParameter),
        ("%FF=1", InvalidParameter),
    ],
)
def test_invalid_query_is_refused(query: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        parse_connection_query(query, CHANNELS)


@pytest.mark.parametrize(
    ("query", "hint"),
    [
        ("chanel=data", "Did you mean `channel`? The parameters are channel, channels, since, pace_ms, contract."),
        ("pace=1", "Did you mean `pace_ms`? The parameters are channel, channels, since, pace_ms, contract."),
        ("x=1", "The parameters are channel, channels, since, pace_ms, contract."),
    ],
)
def test_unknown_parameter_is_refused_with_the_nearest(query: str, hint: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        parse_connection_query(f"since=now&{query}", CHANNELS)
    assert caught.value.hint == hint


def test_parameters_for_an_authenticating_proxy_are_ignored() -> None:
    query = "&".join(f"{name}=secret" for name in FOREIGN_PARAMETERS)
    assert parse_connection_query(query, CHANNELS) == parse_connection_query("", CHANNELS)
    assert read_values(query, ()) == {}


@pytest.mark.parametrize(
    ("text", "value"),
    [("a+b", "a b"), ("a%20b", "a b"), ("a%2Bb", "a+b"), ("100%", "100%"), ("%C3%A9", "é"), ("a=b", "a=b"), ("", "")],
)
def test_values_are_decoded_as_in_a_form(text: str, value: str) -> None:
    assert read_values(f"name={text}&name=last", ["name"]) == {"name": [value, "last"]}


def test_query_pairs_keep_order_and_encoding() -> None:
    assert query_pairs("a=1&&b=%20=&a&c%64=2") == [("a", "1"), ("b", "%20="), ("a", ""), ("cd", "2")]
