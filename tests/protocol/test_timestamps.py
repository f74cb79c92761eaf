import re
from datetime import datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.contract.envelopes import CONTRACT, STAMPED, FixedDefaults

from tidings.exceptions import InvalidTimestamp, TidingsError
from tidings.protocol.envelope import Envelope, PlainEnvelope
from tidings.protocol.payloads import DataUpdateData, encode_payload
from tidings.protocol.timestamps import (
    GO_ZERO_TIME,
    MAX_TIMESTAMP_CHARS,
    canonicalize,
    from_nanoseconds,
    known_seconds,
    stored_nanoseconds,
    to_nanoseconds,
)

EPOCH = datetime(1970, 1, 1)
CANONICAL = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,8}[1-9])?Z", re.ASCII)
SECOND_NS = 1_000_000_000

moments = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59)).map(
    lambda moment: moment.replace(microsecond=0)
)
fractions = st.text("0123456789", max_size=9)
offsets = st.one_of(st.just(None), st.integers(-23 * 60 - 59, 23 * 60 + 59))


def written(moment: datetime, fraction: str, offset: int | None, letters: str = "TZ") -> str:
    zone = letters[1] if offset is None else f"{'-' if offset < 0 else '+'}{abs(offset) // 60:02}:{abs(offset) % 60:02}"
    return f"{moment.isoformat().replace('T', letters[0])}{'.' + fraction if fraction else ''}{zone}"


@given(moments, fractions, offsets, st.sampled_from(["TZ", "tz", "Tz", "tZ"]))
def test_any_rfc_3339_text_is_read_to_the_nanosecond(
    moment: datetime, fraction: str, offset: int | None, letters: str
) -> None:
    text = written(moment, fraction, offset, letters)
    since = moment - EPOCH - timedelta(minutes=offset or 0)
    unix_ns = (since.days * 86_400 + since.seconds) * SECOND_NS + int(fraction.ljust(9, "0"))
    if offset is not None and not fraction and abs(since - (datetime.min - EPOCH)) < timedelta(minutes=1):
        assert canonicalize(text) == GO_ZERO_TIME
        return
    if not datetime.min - EPOCH <= since <= datetime.max - EPOCH:
        with pytest.raises(InvalidTimestamp):
            canonicalize(text)
        return
    assert CANONICAL.fullmatch(canonicalize(text))
    assert to_nanoseconds(text) == unix_ns
    assert from_nanoseconds(unix_ns) == canonicalize(text)
    assert canonicalize(canonicalize(text)) == canonicalize(text)


@given(moments, fractions, moments, fractions)
def test_canonical_texts_of_one_length_sort_by_time(first: datetime, one: str, second: datetime, other: str) -> None:
    texts = [canonicalize(written(first, one, None)), canonicalize(written(second, other, None))]
    if len(texts[0]) == len(texts[1]):
        assert sorted(texts) == sorted(texts, key=to_nanoseconds)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-07-30T12:00:00Z", "2025-07-30T12:00:00Z"),
        ("2025-07-30T12:00:00.123456789Z", "2025-07-30T12:00:00.123456789Z"),
        ("2025-07-30T12:00:00.120000000Z", "2025-07-30T12:00:00.12Z"),
        ("2025-07-30T12:00:00.000Z", "2025-07-30T12:00:00Z"),
        ("2025-07-30t12:00:00.5z", "2025-07-30T12:00:00.5Z"),
        ("2025-07-30T15:00:00.5+03:00", "2025-07-30T12:00:00.5Z"),
        ("2025-07-30T12:00:00-00:00", "2025-07-30T12:00:00Z"),
        ("2024-02-29T23:30:00-01:00", "2024-03-01T00:30:00Z"),
        ("0001-01-01T00:00:00Z", GO_ZERO_TIME),
        ("0001-01-01T05:30:00+05:30", GO_ZERO_TIME),
        # Go's zero time in Berlin, New York and Kolkata: their local mean times have seconds, the offsets have none.
        ("0001-01-01T00:53:28+00:53", GO_ZERO_TIME),
        ("0000-12-31T19:03:58-04:56", GO_ZERO_TIME),
        ("0001-01-01T05:53:28+05:53", GO_ZERO_TIME),
        ("0001-01-01T00:53:28.5+00:53", "0001-01-01T00:00:28.5Z"),
        ("0001-01-01T00:00:28Z", "0001-01-01T00:00:28Z"),
        ("9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59.999999999Z"),
        ("9999-12-31T22:59:59-01:00", "9999-12-31T23:59:59Z"),
        # A leap second is read as the following second, as POSIX clocks count it.
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"),
        ("2016-12-31T23:59:60.25Z", "2017-01-01T00:00:00.25Z"),
        ("2017-01-01T08:59:60.250+09:00", "2017-01-01T00:00:00.25Z"),
    ],
)
def test_text_has_one_canonical_form(text: str, expected: str) -> None:
    assert canonicalize(text) == expected


NOT_RFC_3339 = [
    "",
    "now",
    "2025-07-30",
    "2025-07-30T12:00Z",
    "2025-07-30T12:00:00",
    "2025-07-30 12:00:00Z",
    "20250730T120000Z",
    "2025-W31-3T12:00:00Z",
    "2025-07-30T12:00:00.Z",
    "2025-07-30T12:00:00,5Z",
    "2025-07-30T12:00:00.1234567891Z",
    "2025-07-30T12:00:00+0300",
    "2025-07-30T12:00:00+24:00",
    "2025-07-30T12:00:00+03:60",
    "2025-07-30T12:00:00.5ZZ",
    " 2025-07-30T12:00:00Z",
    "2025-07-30T12:00:00Z\n",
    "2025-02-30T12:00:00Z",
    "2025-13-01T12:00:00Z",
    "2025-07-30T24:00:00Z",
    "2025-07-30T24:00:00.5Z",
    "2025-07-30T12:60:00Z",
    "2025-07-30T12:00:61Z",
    "2025-07-30T12:00:60Z",
    "2016-12-31T23:58:60.5Z",
    "2016-12-31T23:59:60+01:00",
    "9999-12-31T23:59:60Z",
    "0000-01-01T00:00:00Z",
    "0001-01-01T00:00:00+00:01",
    "9999-12-31T23:59:59-00:01",
    "２０２５-07-30T12:00:00Z",
    "2025-07-30T12:00:00.٥Z",
]


@pytest.mark.parametrize("text", NOT_RFC_3339)
def test_invalid_timestamp_raises(text: str) -> None:
    with pytest.raises(InvalidTimestamp) as caught:
        canonicalize(text)
    assert caught.value.path == "$.timestamp"
    assert "leave it out" in caught.value.hint


def test_error_quotes_at_most_64_characters() -> None:
    with pytest.raises(InvalidTimestamp) as caught:
        canonicalize("9" * 10_000)
    assert len(str(caught.value)) < 100


def test_nanoseconds_out_of_range_raise() -> None:
    with pytest.raises(OverflowError):
        from_nanoseconds(253_402_300_800 * SECOND_NS)


def test_early_year_keeps_four_digits() -> None:
    assert from_nanoseconds(to_nanoseconds("0001-01-01T00:00:00.000000001Z")) == "0001-01-01T00:00:00.000000001Z"


def test_longest_timestamp_has_nine_fraction_digits() -> None:
    assert len(from_nanoseconds(123_456_789)) == MAX_TIMESTAMP_CHARS


def test_cache_of_seconds_is_bounded() -> None:
    for second in range(1_000):
        canonicalize(from_nanoseconds(second * SECOND_NS))
    assert 0 < len(known_seconds) <= 256
    assert all(len(text) == 19 for text in known_seconds)


def mutations(text: str) -> st.SearchStrategy[str]:
    places = st.integers(0, len(text))
    pieces = st.sampled_from(
        [*"0123456789", "-", ":", "T", "t", "Z", "z", ".", ",", "+", " ", "W", "", "24", "60", "é"]
    )
    return st.tuples(places, st.integers(0, 2), pieces).map(
        lambda cut: text[: cut[0]] + cut[2] + text[cut[0] + cut[1] :]
    )


texts = st.tuples(st.one_of(moments, st.just(datetime(2000, 1, 1))), fractions, offsets).map(
    lambda parts: written(*parts)
)


def outcome(timestamp: str, envelope_type: type[Envelope]) -> str:
    envelope = envelope_type(type="data:update", timestamp=timestamp, trace_id="t", data=DATA)
    try:
        return CONTRACT.read(envelope, FixedDefaults()).timestamp
    except TidingsError as error:
        return error.code


DATA = Envelope.__struct_defaults__[2]


@given(st.one_of(texts, texts.flatmap(mutations), texts.flatmap(mutations).flatmap(mutations)))
@example("2025-07-30T24:00:00.5Z")
@example("2025-07-30T12:00:00")
@example("2025-07-30T12:00:00.Z")
@example("2025-07-30T12:00:00:Z")
@example("2025-07-30T12:00:00:5Z")
@example("2025-07-30T12:00:00.5")
@example("2025-07-30T12:00:00.5z")
@example("2025-07-30T12:00:00.123456:Z")
@example('2025-07-30T12:00:00.123456"Z')
@example("2025-07-30T12:00:00.٥Z")
@example("2025-07-30T12:00:00.²Z")
@example("2025-07-30T00:00:00.5Z")
@example("2025-02-29T00:00:00.5Z")
@example("2025-07-30T12:00:00.50Z")
@example("2025-07-30T12:00:00.1234567891Z")
@example("2016-12-31T23:59:60.5Z")
def test_event_has_the_canonical_form_of_any_timestamp(text: str) -> None:
    canonicalize("2025-07-30T12:00:00Z")  # so that the cache holds this second
    canonicalize("2000-01-01T00:00:00Z")
    try:
        expected = STAMPED if text == "" or canonicalize(text) == GO_ZERO_TIME else canonicalize(text)
        if expected != STAMPED and not 1678 <= int(expected[:4]) <= 2261:
            expected = InvalidTimestamp.code
    except InvalidTimestamp as error:
        expected = error.code
    assert outcome(text, Envelope) == expected
    assert outcome(text, PlainEnvelope) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1677-12-31T23:59:59.999999999Z", None),
        ("1678-01-01T00:00:00Z", "1678-01-01T00:00:00Z"),
        ("1678-01-01T00:30:00+01:00", None),
        ("2261-12-31T23:59:59.999999999Z", "2261-12-31T23:59:59.999999999Z"),
        ("2262-01-01T00:00:00Z", None),
        ("2261-12-31T23:30:00-01:00", None),
        ("1601-01-01T00:00:00Z", None),
        ("1601-01-01T00:00:00.5Z", None),
        ("9999-12-31T23:59:59.5Z", None),
        ("0001-01-01T00:00:28.5Z", None),
        ("0001-01-01T00:53:28+00:53", STAMPED),
        ("0000-12-31T19:03:58-04:56", STAMPED),
    ],
)
def test_event_has_a_timestamp_whose_nanoseconds_fit_in_64_bits(text: str, expected: str | None) -> None:
    canonicalize(text)  # a reader of the same process, so that a cached second is not taken for a checked one
    assert outcome(text, Envelope) == (expected or "invalid_timestamp")
    assert outcome(text, PlainEnvelope) == (expected or "invalid_timestamp")


def test_year_out_of_range_is_refused_with_a_remedy() -> None:
    with pytest.raises(InvalidTimestamp, match="expected 1678 to 2261") as caught:
        CONTRACT.read(Envelope(type="data:update", timestamp="1601-01-01T00:00:00Z", data=DATA), FixedDefaults())
    assert "leave it out and the hub stamps it" in caught.value.hint


@given(st.text(max_size=40) | texts, st.integers(-(2**63), 2**63 - 1))
@example("1601-01-01T00:00:00Z", 0)
@example("9999-12-31T23:59:59Z", 2**63 - 1)
@example("0001-01-01T00:00:00Z", -(2**63))
def test_any_stored_timestamp_is_a_moment_in_64_bits(text: str, received_ns: int) -> None:
    assert -(2**63) <= stored_nanoseconds(text, received_ns) <= received_ns


def test_events_of_this_test_have_empty_data() -> None:
    assert bytes(DATA) == b"null"
    assert encode_payload(DataUpdateData()) == b"{}"
