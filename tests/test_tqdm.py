"""Bars that report, against a real hub."""

import asyncio
import io
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.client.hub_server import TIMEOUT_S, HubServer
from tests.producer.programs import run
from tests.producer.reported import Reported
from tqdm.auto import tqdm as plain_tqdm

import tidings
from tidings.client import sync
from tidings.producer.lifecycle import OperationLifecycle
from tidings.producer.runtime import RUNTIME
from tidings.tqdm import tqdm, trange


@pytest.fixture
def reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reported]:
    monkeypatch.setenv("TIDINGS_SPOOL", str(tmp_path / "spool"))
    with HubServer() as hub:
        monkeypatch.setenv("TIDINGS_URL", hub.url)
        try:
            yield Reported(hub)
        finally:
            left = [operation.name for operation in RUNTIME.running]
            RUNTIME.close()
    assert left == []


@pytest.fixture
def screen() -> io.StringIO:
    return io.StringIO()


def ends(reported: Reported) -> list[tuple[str, object]]:
    """Return how the operations ended, with their last progress."""
    told = reported.told()
    return [
        (
            kind,
            next(
                (
                    earlier["progress"]
                    for was, earlier in reversed(told)
                    if was == "progress" and earlier["operation_id"] == data["operation_id"]
                ),
                None,
            ),
        )
        for kind, data in told
        if kind in ("complete", "failed", "cancelled")
    ]


def test_a_loop_is_an_operation_named_by_its_description(reported: Reported, screen: io.StringIO) -> None:
    assert list(tqdm(range(50), desc="Load", unit="rows", file=screen)) == list(range(50))
    told = reported.told()
    assert told[0][0] == "start"
    assert told[0][1]["name"] == "Load"
    progress = [data for kind, data in told if kind == "progress"]
    assert progress[-1]["progress"] == 100
    assert progress[-1]["message"].startswith("50/50 rows")
    assert told[-1][0] == "complete"


def test_without_a_description_it_has_the_program_s_name(reported: Reported, screen: io.StringIO) -> None:
    list(tqdm(range(3), file=screen))
    assert reported.told()[0][1]["name"] == Path(sys.argv[0]).stem


def test_the_bar_on_the_terminal_is_tqdm_s_own(reported: Reported) -> None:
    def shown(kind: type) -> str:
        screen = io.StringIO()
        with kind(
            total=10, desc="Same", file=screen, bar_format="{desc}|{bar:10}|{n_fmt}/{total_fmt}", miniters=1
        ) as bar:
            for _ in range(10):
                bar.update()
            bar.set_postfix(loss=0.5)
        return screen.getvalue()

    assert shown(tqdm) == shown(plain_tqdm)


def test_a_bar_by_hand(reported: Reported, screen: io.StringIO) -> None:
    bar = tqdm(total=200, desc="Hand", initial=50, file=screen)
    bar.update(50)
    bar.set_postfix(loss=0.25)
    bar.close()
    bar.close()
    assert ends(reported) == [("complete", 50)]
    assert [data["message"] for kind, data in reported.told() if kind == "progress"][-1] == "100/200 it, loss=0.25"


def test_a_bar_that_tqdm_hides_because_nobody_watches_reports(reported: Reported, screen: io.StringIO) -> None:
    for _ in tqdm(range(4), disable=None, desc="Batch", file=screen):
        pass
    bar = tqdm(total=4, disable=None, desc="Batch by hand", file=screen)
    bar.update(3)
    bar.close()
    assert ends(reported) == [("complete", 100), ("complete", 75)]
    assert screen.getvalue() == ""


def test_a_bar_that_is_switched_off_says_nothing(reported: Reported, screen: io.StringIO) -> None:
    assert list(tqdm(range(4), disable=True, file=screen)) == [0, 1, 2, 3]
    assert reported.told() == []


def test_inner_bars_are_details_of_the_outer(reported: Reported, screen: io.StringIO) -> None:
    seen = []
    for _ in tqdm(range(2), desc="outer", file=screen):
        for _ in tqdm(range(3), desc="inner", leave=False, file=screen):
            (op,) = RUNTIME.running
            assert isinstance(op, OperationLifecycle)
            seen.append((op.percent, (op.reporter.read(0.0).message or "")[:9]))
    assert seen == [(share, f"inner: {n}/") for share in (0, 50) for n in range(3)]
    assert reported.kinds() == ["start", "complete"]
    assert ends(reported) == [("complete", 100)]


def test_within_an_operation_a_bar_counts_for_that(reported: Reported, screen: io.StringIO) -> None:
    with tidings.operation("Job") as op:
        for _ in tqdm(range(4), desc="Rows", file=screen):
            pass
        assert op.percent == 100
    assert reported.kinds() == ["start", "complete"]


def test_within_a_step_it_counts_for_the_step(reported: Reported, screen: io.StringIO) -> None:
    with tidings.operation("Job", steps=["a", "b"]) as op:
        with op.step("a"):
            shares = [op.percent for _ in tqdm(range(4), file=screen)]
        assert shares == [0, 12.5, 25, 37.5]
        for _ in tqdm(range(2), desc="b", file=screen):
            pass
        assert op.percent == 100, "it was the planned step of its name"


def test_a_with_block_knows_why_its_loop_was_left(reported: Reported, screen: io.StringIO) -> None:
    def fail() -> None:
        with tqdm(range(4), desc="Fail", file=screen) as bar:
            for number in bar:
                if number == 2:
                    raise LookupError("no such row")

    with pytest.raises(LookupError):
        fail()
    with tqdm(range(4), desc="Break", file=screen) as bar:
        for _ in bar:
            break
    assert [kind for kind, _ in ends(reported)] == ["failed", "complete"]
    assert next(data for kind, data in reported.told() if kind == "failed")["code"] == "lookup_error"


def test_a_loop_that_is_left_is_cancelled_with_how_far_it_came(reported: Reported, screen: io.StringIO) -> None:
    for number in tqdm(range(10), file=screen):
        if number == 4:
            break
    assert reported.last()[1]["reason"] == "left after 4/10 it"


def test_an_iterable_that_fails_is_the_failure(reported: Reported, screen: io.StringIO) -> None:
    def rows() -> Iterator[int]:
        yield 1
        raise OSError("the file is gone")

    with pytest.raises(OSError, match="the file is gone"):
        list(tqdm(rows(), file=screen))
    assert reported.last()[1]["code"] == "os_error"


def test_a_loop_inside_an_except_block_is_not_failed_by_it(reported: Reported, screen: io.StringIO) -> None:
    try:
        raise ValueError("handled")
    except ValueError:
        list(tqdm(range(3), file=screen))
        bar = tqdm(total=1, file=screen)
        bar.close()
    assert [kind for kind, _ in ends(reported)] == ["complete", "complete"]


def test_total_and_description_may_change(reported: Reported, screen: io.StringIO) -> None:
    bar = tqdm(desc="Growing", file=screen)
    bar.update(5)
    bar.total = 20
    bar.refresh()
    bar.reset(total=10)
    bar.update(4)
    bar.close()
    assert ends(reported) == [("complete", 40)]


def test_trange(reported: Reported, screen: io.StringIO) -> None:
    assert list(trange(2, 6, 2, file=screen)) == [2, 4]
    assert ends(reported) == [("complete", 100)]


async def test_asynchronous_loops(reported: Reported, screen: io.StringIO) -> None:
    async def rows() -> AsyncIterator[int]:
        for number in range(4):
            yield number

    seen = [row async for row in tqdm(rows(), total=4, file=screen)]
    results = await tqdm.gather(asyncio.sleep(0, "a"), asyncio.sleep(0, "b"), file=screen)
    assert (seen, results) == ([0, 1, 2, 3], ["a", "b"])
    assert await asyncio.to_thread(ends, reported) == [("complete", 100), ("complete", 100)]


def test_who_cancels_it_ends_the_loop(reported: Reported, screen: io.StringIO) -> None:
    def follow() -> None:
        for number in tqdm(range(1 << 60), file=screen):
            if not number:
                assert RUNTIME.flush(TIMEOUT_S) == 0
                (op,) = RUNTIME.running
                with sync.connect() as client:
                    client.cancel(op.id, reason="enough", timeout_s=0)

    with pytest.raises(tidings.OperationCancelled, match="enough"):
        follow()
    assert reported.last()[0] == "cancelled"


def test_without_tqdm_the_import_says_what_to_install(tmp_path: Path) -> None:
    code = """
    sys.modules["tqdm"] = None
    try:
        import tidings.tqdm
    except tidings.MissingExtra as error:
        assert error.hint == "pip install 'tidings[tqdm]'", error.hint
        say("told")
    """
    assert run(code, "ws://127.0.0.1:9/ws", tmp_path) == (0, "")
