from tidings.relay.warnings import RelayWarnings


def test_each_kind_is_reported_once() -> None:
    told: list[tuple[str, str]] = []
    remarks = RelayWarnings(lambda *said: told.append(said))
    assert remarks.once("a", "first", "help")
    assert not remarks.once("a", "second")
    assert remarks.once("b", "third")
    assert told == [("first", "help"), ("third", "")]


def test_number_of_kinds_is_bounded() -> None:
    told: list[str] = []
    remarks = RelayWarnings(lambda text, hint: told.append(text), max_kinds=3)
    assert [remarks.once(f"{n}", f"no. {n}") for n in range(5)] == [True, True, True, False, False]
    assert told[:3] == ["no. 0", "no. 1", "no. 2"]
    assert len(told) == 4
    assert "further kinds of warnings are not shown" in told[3]
