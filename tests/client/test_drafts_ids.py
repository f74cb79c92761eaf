import uuid

from hypothesis import given
from hypothesis import strategies as st

from tidings.client.drafts import uuid7
from tidings.protocol.envelope import check_event_id


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**74 - 1))
def test_it_is_a_version_7_uuid_with_its_time_in_front(unix_ms: int, random: int) -> None:
    text = uuid7(unix_ms, random)
    parsed = uuid.UUID(text)
    assert str(parsed) == text
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert parsed.int >> 80 == unix_ms
    assert check_event_id(text) == text


@given(st.integers(0, 2**74 - 1), st.integers(0, 2**74 - 1))
def test_all_random_bits_count(one: int, other: int) -> None:
    assert (uuid7(1, one) == uuid7(1, other)) is (one == other)


@given(st.integers(0, 2**48 - 2))
def test_later_ids_sort_behind_earlier_ones(unix_ms: int) -> None:
    assert uuid7(unix_ms, 2**74 - 1) < uuid7(unix_ms + 1, 0)
