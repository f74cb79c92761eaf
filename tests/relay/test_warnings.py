from tidings.relay.warnings import RelayWarnings


def test_each_kind_is_reported_once() -> None:
    reported: list[tuple[str, str]] = []
    warnings = RelayWarnings(lambda *said: reported.append(said))
    assert warnings.once("a", "first", "help")
    assert not warnings.once("a", "second")
    assert warnings.once("b", "third")
    assert reported == [("first", "help"), ("third", "")]


def test_number_of_kinds_is_bounded() -> None:
    reported: list[str] = []
    warnings = RelayWarnings(lambda text, hint: reported.append(text), max_kinds=3)
    assert [warnings.once(f"{n}", f"no. {n}") for n in range(5)] == [True, True, True, False, False]
    assert reported[:3] == ["no. 0", "no. 1", "no. 2"]
    assert len(reported) == 4
    assert "further kinds of warnings are not shown" in reported[3]
