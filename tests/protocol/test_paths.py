from itertools import permutations
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.exceptions import InvalidKey, InvalidPath, UnknownChannel
from tidings.protocol.message_types import ChannelType
from tidings.protocol.paths import NO_PATHS, Path, PathSet, check_key, check_paths, parse_path, parse_paths, parse_query

CHANNELS = tuple(str(channel) for channel in ChannelType)
GLOBAL = Path("global")

# Few letters, so that prefixes match keys; "/", "*", "," and "é" have a meaning in the text of a path.
keys = st.text("ab./*,é", min_size=1, max_size=4)
channels = st.sampled_from(CHANNELS)
paths = st.one_of(st.builds(Path, channels), st.builds(Path, channels, keys, st.booleans()))
path_lists = st.lists(paths, max_size=6)
event_keys = st.one_of(st.none(), keys)


@given(path_lists, channels, event_keys)
def test_set_matches_what_its_paths_or_global_match(own: list[Path], channel: str, key: str | None) -> None:
    expected = any(path.matches(channel, key) for path in own) or (bool(own) and channel == "global")
    wanted = PathSet.of(own)
    assert wanted.matches(channel, key) is expected
    assert wanted.matcher()(channel, key) is expected


@given(path_lists, channels, event_keys)
def test_set_without_global_matches_what_its_paths_match(own: list[Path], channel: str, key: str | None) -> None:
    wanted = PathSet.of(own, with_global=False)
    assert wanted.matches(channel, key) is any(path.matches(channel, key) for path in own)
    assert wanted.matcher()(channel, key) is wanted.matches(channel, key)


@given(st.lists(paths, max_size=4))
def test_canonical_form_ignores_order_and_repetition(own: list[Path]) -> None:
    wanted = PathSet.of(own)
    assert all(PathSet.of([*order, *order]) == wanted for order in permutations(own))
    assert PathSet.of(wanted.paths) == wanted
    assert hash(PathSet.of(wanted.paths)) == hash(wanted)


@given(path_lists)
def test_no_path_of_a_set_is_covered_by_another(own: list[Path]) -> None:
    kept = PathSet.of(own).paths
    assert not [(one, other) for one in kept for other in kept if one != other and one.covers(other)]


@given(paths, paths, channels, event_keys)
def test_covering_path_matches_every_event_of_the_other(one: Path, other: Path, channel: str, key: str | None) -> None:
    if one.covers(other) and other.matches(channel, key):
        assert one.matches(channel, key)


@given(path_lists, paths, channels, event_keys)
def test_set_that_covers_a_path_matches_its_events(own: list[Path], other: Path, channel: str, key: str | None) -> None:
    wanted = PathSet.of(own)
    if wanted.covers(other) and other.matches(channel, key):
        assert wanted.matches(channel, key)
    assert all(wanted.covers(path) for path in own)


@given(path_lists, path_lists, channels, event_keys)
def test_union_matches_what_either_matches(one: list[Path], other: list[Path], channel: str, key: str | None) -> None:
    first, second = PathSet.of(one), PathSet.of(other)
    assert (first | second).matches(channel, key) is (first.matches(channel, key) or second.matches(channel, key))
    assert first | NO_PATHS == first


@given(path_lists, path_lists)
def test_without_keeps_global_while_other_paths_remain(one: list[Path], other: list[Path]) -> None:
    own, removed = PathSet.of(one), PathSet.of(other)
    rest = {path for path in own.paths if path not in removed.paths and path != GLOBAL}
    left = own.without(removed)
    if rest:
        assert set(left.paths) == rest | {GLOBAL}
    else:
        assert set(left.paths) <= {GLOBAL}


def test_without_the_last_path_is_empty() -> None:
    operations = parse_paths(["operations"], CHANNELS)
    assert operations.without(operations) == NO_PATHS
    assert operations.without(NO_PATHS) == operations
    assert not NO_PATHS


@given(path_lists)
def test_set_is_parsed_again_from_its_names(own: list[Path]) -> None:
    # A key that ends in a star is written like a prefix; only that prefix can name it.
    readable = [path for path in own if path.prefix or path.key is None or not path.key.endswith("*")]
    wanted = PathSet.of(readable)
    assert parse_paths(wanted.names(), CHANNELS) == wanted


@given(path_lists)
def test_grouping_by_channel_keeps_every_path(own: list[Path]) -> None:
    wanted = PathSet.of(own)
    grouped = wanted.by_channel()
    assert tuple(path for group in grouped.values() for path in group) == wanted.paths
    assert all(path.channel == channel for channel, group in grouped.items() for path in group)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("operations", (Path("operations"),)),
        ("operations/op-42", (Path("operations", "op-42"),)),
        ("operations/a/b", (Path("operations", "a/b"),)),
        ("operations//", (Path("operations", "/"),)),
        ("operations/ a ", (Path("operations", " a "),)),
        ("operations/acme.*", (Path("operations", "acme.", True),)),
        ("operations/a*b", (Path("operations", "a*b"),)),
        ("operations/a**", (Path("operations", "a*", True),)),
        ("operations/*", (Path("operations"),)),
        ("*", tuple(map(Path, CHANNELS))),
    ],
)
def test_path_is_parsed_from_text(text: str, expected: tuple[Path, ...]) -> None:
    assert parse_path(text, CHANNELS) == expected


@pytest.mark.parametrize(
    "text", ["", "/", "/a", "operations/", "operations/" + "a" * 256, "operations/a\nb*", "data/\x7f"]
)
def test_invalid_path_raises(text: str) -> None:
    with pytest.raises(InvalidPath, match=r"^path "):
        parse_path(text, CHANNELS)


@pytest.mark.parametrize("text", ["operation", "Operations", "none", "**", "* ", "operation/op-1"])
def test_unknown_channel_raises_and_lists_the_channels(text: str) -> None:
    with pytest.raises(UnknownChannel) as caught:
        parse_path(text, CHANNELS)
    assert "global, operations, data, system" in caught.value.hint


@pytest.mark.parametrize("key", ["a", "a" * 255, "é" * 127, "op 42", "a/b", "😀", "\u2028", "*"])
def test_valid_key_is_returned(key: str) -> None:
    assert check_key(key) == key


@pytest.mark.parametrize("key", ["", "a" * 256, "é" * 128, "a\x00", "\n", "\x7f", "é\x1f", "\x80", "\x9f", "\ud83d"])
def test_invalid_key_raises(key: str) -> None:
    with pytest.raises(InvalidKey):
        check_key(key)


@given(st.text(min_size=1, max_size=3, alphabet=st.characters(exclude_categories=["Cs", "Cc"])))
def test_key_in_a_url_may_hold_any_allowed_character(key: str) -> None:
    encoded = "data/" + quote(key, safe="")
    wanted = parse_query([("channel", encoded)], CHANNELS)
    assert wanted == parse_paths([f"data/{key}"], CHANNELS)
    assert parse_query([("channels", encoded)], CHANNELS) == wanted


@pytest.mark.parametrize(
    ("pairs", "names"),
    [
        ([], ["data", "global", "operations", "system"]),
        ([("since", "now")], ["data", "global", "operations", "system"]),
        ([("channel", "data")], ["data", "global"]),
        ([("channel", "data"), ("channel", "operations/a,b")], ["data", "global", "operations/a,b"]),
        ([("channels", "data,operations/a,")], ["data", "global", "operations/a"]),
        ([("channels", "data"), ("channel", "system")], ["data", "global", "system"]),
        ([("channels", "none")], []),
        ([("channels", "*")], ["data", "global", "operations", "system"]),
        ([("channel", "global")], ["global"]),
        ([("channel", "data/a+b")], ["data/a b", "global"]),
        ([("channel", "data/a%2Bb")], ["data/a+b", "global"]),
    ],
)
def test_query_names_a_set_of_paths(pairs: list[tuple[str, str]], names: list[str]) -> None:
    assert parse_query(pairs, CHANNELS).names() == names


@pytest.mark.parametrize(
    "pair", [("channel", ""), ("channels", ""), ("channels", ","), ("channel", "data/%ff"), ("channel", "data%2F")]
)
def test_query_with_an_empty_path_raises(pair: tuple[str, str]) -> None:
    with pytest.raises(InvalidPath):
        parse_query([pair], CHANNELS)


def test_channel_named_none_is_unknown_beside_others() -> None:
    with pytest.raises(UnknownChannel):
        parse_query([("channels", "none,data")], CHANNELS)


def test_check_paths_accepts_any_channel() -> None:
    check_paths(["trades", "trades/AAPL", "trades/A*", "*", "operations"])
    for text in ("", "/key", "trades/", "trades/" + "k" * 256):
        with pytest.raises(InvalidPath):
            check_paths([text])
