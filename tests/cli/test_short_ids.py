from hypothesis import given
from hypothesis import strategies as st

from tidings.cli.short_ids import shorten_ids


def test_short_ids_are_whole_and_long_ids_are_unique_prefixes() -> None:
    short = shorten_ids(["import-42", "3f2a91c0-0b7e-4a55", "3f2a91d4-9c1d-4e10", "8c01aa00-1111-4222"])
    assert short == {
        "import-42": "import-42",
        "3f2a91c0-0b7e-4a55": "3f2a91c",
        "3f2a91d4-9c1d-4e10": "3f2a91d",
        "8c01aa00-1111-4222": "8c01aa",
    }


@given(st.sets(st.text("abc-", min_size=1, max_size=30), max_size=30))
def test_short_id_begins_no_other_id(ids: set[str]) -> None:
    for id, short in shorten_ids(ids).items():
        assert id.startswith(short)
        assert short == id or [other for other in ids if other.startswith(short)] == [id]
