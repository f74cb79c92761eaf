from tidings.relay.translate import RecentIds


def test_it_knows_what_was_added_and_forgets_the_oldest() -> None:
    recent = RecentIds(3)
    for id in ("a", "b", "c", "a", "d"):
        recent.add(id)
    assert [id in recent for id in "abcd"] == [True, False, True, True]
    assert len(recent) == 3
