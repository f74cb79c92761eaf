from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tidings
from tidings.testing import ANYTHING, ManualHub, any_order, approx, assert_events, event, none_of
from tidings.testing.matching import Expected

STORY: list[dict[str, Any]] = [
    {"type": "operation:start", "data": {"operation_id": "op-1", "name": "Import prices"}},
    {"type": "operation:progress", "data": {"operation_id": "op-1", "progress": 50.0}},
    {"type": "data:update", "data": {"dataset": "prices"}},
    {"type": "operation:progress", "data": {"operation_id": "op-1", "progress": 100.0}},
    {"type": "operation:complete", "data": {"operation_id": "op-1", "result": {"rows": 3}}},
]


def failure(*expected: Expected, exactly: bool = False, story: list[dict[str, Any]] = STORY) -> list[str]:
    with pytest.raises(AssertionError) as failed:
        assert_events(story, expected, exactly=exactly)
    return str(failed.value).splitlines()


@pytest.mark.parametrize(
    "expected",
    [
        [],
        ["operation:start"],
        ["operation:start", "operation:complete"],
        [tidings.MessageType.OPERATION_START, event("operation:complete", result={"rows": ANYTHING})],
        [event("operation:progress", progress=approx(100, 0.5)), "operation:complete"],
        ["operation:progress", "operation:progress"],
        [any_order("operation:complete", "data:update", event("operation:progress", progress=50))],
        ["operation:start", any_order("data:update", "operation:progress"), "operation:complete"],
        [none_of("operation:failed", "operation:cancelled")],
        ["operation:start", none_of("data:update"), "operation:progress", "data:update", none_of("data:update")],
        [none_of("operation:start"), "operation:start"],
        [any_order()],
    ],
)
def test_expected_events_are_found(expected: list[Expected]) -> None:
    assert_events(STORY, expected)


def test_exact_match_allows_no_other_events() -> None:
    types: list[Expected] = [str(each["type"]) for each in STORY]
    assert_events(STORY, types, exactly=True)
    assert_events(STORY, [types[0], any_order(*map(str, types[1:]))], exactly=True)
    assert_events([], [], exactly=True)


def test_search_backtracks() -> None:
    updates = [{"type": "data:update", "data": {"dataset": name}} for name in "abab"]
    assert_events(
        updates, [any_order("data:update", event("data:update", dataset="a")), event("data:update", dataset="b")]
    )
    between: list[Expected] = [
        event("data:update", dataset="a"),
        none_of(event("data:update", dataset="a")),
        event("data:update", dataset="b"),
        none_of("data:update"),
    ]
    assert_events(updates, between)


def test_message_shows_the_difference_to_the_nearest_event() -> None:
    head, expected, but, title, *around = failure("operation:start", event("operation:progress", progress=42))
    assert head == "expected event 2 of 2 did not happen"
    assert expected == "  expected  operation:progress  progress=42"
    assert but == "  but       progress: expected 42, is 50.0"
    assert title == "  what happened (5 events):"
    assert around[0] == "    ✓ #0   operation:start  operation_id='op-1', name='Import prices'"
    assert around[1] == "    > #1   operation:progress  operation_id='op-1', progress=50.0"
    assert len(around) == 5


def test_nearest_event_has_the_fewest_differences() -> None:
    lines = failure(event("operation:progress", operation_id="op-1", progress=100, message="done"))
    assert "  but       message: expected 'done', is absent" in lines
    assert [line for line in lines if line.startswith("    >")] == [
        "    > #3   operation:progress  operation_id='op-1', progress=100.0"
    ]


def test_message_marks_an_event_that_came_too_early() -> None:
    lines = failure("operation:complete", "operation:start")
    assert lines[2] == "  but       the only such event came before: #0"
    twice = failure("operation:start", "operation:start")
    assert twice[2] == "  but       the only such event came before and matches another expected one: #0"


def test_message_names_an_event_that_never_came() -> None:
    assert failure("operation:failed")[2] == "  but       no operation:failed came"
    assert failure("operation:complete", "data:error")[2] == "  but       no data:error came after the one before it"


def test_message_marks_a_forbidden_event() -> None:
    between = failure("operation:start", none_of("data:update"), "operation:complete")
    assert between[2] == "  but       #2 came, but none_of forbids  data:update"
    assert "    > #2   data:update  dataset='prices'" in between
    assert failure(none_of("data:update"))[0] == "there was one that is forbidden"
    after = failure("operation:start", none_of("operation:complete"))
    assert after[0] == "all 1 expected events happened, but then one that is forbidden"
    assert after[-1] == "    > #4   operation:complete  operation_id='op-1', result={'rows': 3}"


def test_message_marks_an_unexpected_event() -> None:
    lines = failure("operation:start", "data:update", exactly=True)
    assert lines[:4] == [
        "expected event 2 of 2 did not happen",
        "  expected  data:update",
        "  but       #1 came instead",
        "            type: expected data:update, is operation:progress",
    ]
    rest = failure("operation:start", exactly=True)
    assert rest[0] == "all 1 expected events happened, but then one that is forbidden"


def test_message_states_that_no_event_happened() -> None:
    assert failure("operation:start", story=[])[-1] == "  no event happened"


def test_message_shows_only_nearby_events() -> None:
    story = [{"type": "operation:progress", "data": {"progress": n}} for n in range(100)]
    lines = failure(event("operation:progress", progress=50), event("operation:progress", progress=50.5), story=story)
    assert "      … 47 before" in lines
    assert "      … 44 after" in lines
    assert len(lines) == 15


def test_message_shortens_long_values() -> None:
    story = [{"type": "operation:log", "data": {"message": "x" * 10_000}}]
    assert max(map(len, failure(event("operation:log", message="y" * 10_000), story=story))) < 250


def test_hub_stands_for_its_log_after_its_producers_settle() -> None:
    with ManualHub() as hub, hub.as_default():
        with tidings.operation("Import prices", id="op-1"):
            tidings.start("Another").complete()
        assert_events(hub, [event("operation:start", name="Import prices"), event("operation:complete", key="op-1")])


async def test_hub_can_be_compared_while_clients_are_in_this_loop() -> None:
    with ManualHub() as hub:
        async with tidings.connect(hub.url) as client:
            await client.publish("data:update", {"dataset": "prices"}, trace_id="t-1")
            assert_events(hub, [event("data:update", key="prices", trace_id="t-1", channel="data")], exactly=True)


def test_value_that_is_not_an_event_raises() -> None:
    with pytest.raises(TypeError, match="invalid event"):
        assert_events([{"name": "Import"}], [])


@given(st.lists(st.sampled_from("abc"), max_size=12), st.lists(st.sampled_from("abc"), max_size=5))
def test_order_matches_exactly_the_subsequences(happened: list[str], wanted: list[str]) -> None:
    rest = iter(happened)
    is_subsequence = all(name in rest for name in wanted)
    story = [{"type": "data:update", "data": {"dataset": name}} for name in happened]
    try:
        assert_events(story, [event("data:update", dataset=name) for name in wanted])
    except AssertionError:
        assert not is_subsequence
    else:
        assert is_subsequence


@given(st.lists(st.sampled_from("abc"), max_size=6), st.permutations("aabbc"))
def test_any_order_matches_every_permutation(noise: list[str], order: list[str]) -> None:
    story = [{"type": "data:update", "data": {"dataset": name}} for name in [*order, *noise]]
    assert_events(story, [any_order(*(event("data:update", dataset=name) for name in "abcab"))])


def test_thousand_events_that_do_not_match_fail_quickly() -> None:
    story = [{"type": "operation:progress", "data": {"progress": n}} for n in range(1_000)]
    lines = failure(*["operation:progress"] * 20, "operation:complete", story=story)
    assert lines[0] == "expected event 21 of 21 did not happen"
