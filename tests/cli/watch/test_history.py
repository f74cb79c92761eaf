from tidings.cli.watch.history import History, describe_left_out


def test_history_keeps_the_newest_lines_and_counts_the_others() -> None:
    history: History[int] = History(3)
    assert history.add(range(12_000)) == []
    assert history.close() == (11_997, [11_997, 11_998, 11_999])
    assert history.close() == (0, [])
    assert history.add([1, 2]) == [1, 2]


def test_history_without_limit_holds_nothing_back() -> None:
    assert History[int](None).add([1, 2]) == [1, 2]


def test_left_out_lines_are_counted_with_the_way_to_see_them() -> None:
    assert describe_left_out(11_997) == "… 11,997 earlier lines are left out; --since 1h shows the last hour"
    assert describe_left_out(1).startswith("… 1 earlier line is left out")
