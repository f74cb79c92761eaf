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
            left = RUNTIME.running
            RUNTIME.close()
    assert left == []


@pytest.fixture
def screen() -> io.StringIO:
    return io.StringIO()


def ends(reported: Reported) -> list[tuple[str, object]]:
    """Return how the operations ended, with their last progress."""
    received = reported.received()
    return [
        (
            kind,
            next(
                (
                    earlier["progress"]
                    for was, earlier in reversed(received)
                    if was == "progress" and earlier["operation_id"] == data["operation_id"]
                ),
                None,
            ),
        )
        for kind, data in received
        if kind in ("complete", "failed", "cancelled")
    ]


def test_bar_is_an_operation_named_by_its_description(reported: Reported, screen: io.StringIO) -> None:
    assert list(tqdm(range(50), desc="Load", unit="rows", file=screen)) == list(range(50))
    received = reported.received()
    assert received[0][0] == "start"
    assert received[0][1]["name"] == "Load"
    progress = [data for kind, data in received if kind == "progress"]
    assert progress[-1]["progress"] == 100
    assert progress[-1]["message"].startswith("50/50 rows")
    assert received[-1][0] == "complete"


def test_bar_without_description_has_the_name_of_the_program(reported: Reported, screen: io.StringIO) -> None:
    list(tqdm(range(3), file=screen))
    assert reported.received()[0][1]["name"] == Path(sys.argv[0]).stem


def test_bar_on_the_terminal_is_that_of_tqdm(reported: Reported) -> None:
    def shown(kind: type) -> str:
        screen = io.StringIO()
        with kind(
            total=10, desc="Same", file=screen, bar_format="{desc}|{bar:10}|{n_fmt}/{total_fmt}", mininterval=3_600
        ) as bar:
            for _ in range(10):
                bar.update()
            bar.set_postfix(loss=0.5)
        return screen.getvalue()

    assert shown(tqdm) == shown(plain_tqdm)


def test_bar_updated_by_hand_reports(reported: Reported, screen: io.StringIO) -> None:
    bar = tqdm(total=200, desc="Hand", initial=50, file=screen)
    bar.update(50)
    bar.set_postfix(loss=0.25)
    bar.close()
    bar.close()
    assert ends(reported) == [("complete", 50)]
    assert [data["message"] for kind, data in reported.received() if kind == "progress"][-1] == "100/200 it, loss=0.25"


def test_bar_hidden_without_a_terminal_reports(reported: Reported, screen: io.StringIO) -> None:
    for _ in tqdm(range(4), disable=None, desc="Batch", file=screen):
        pass
    bar = tqdm(total=4, disable=None, desc="Batch by hand", file=screen)
    bar.update(3)
    bar.close()
    assert ends(reported) == [("complete", 100), ("complete", 75)]
    assert screen.getvalue() == ""


def test_disabled_bar_reports_nothing(reported: Reported, screen: io.StringIO) -> None:
    assert list(tqdm(range(4), disable=True, file=screen)) == [0, 1, 2, 3]
    assert reported.received() == []


def test_inner_bar_is_a_detail_of_the_outer_one(reported: Reported, screen: io.StringIO) -> None:
    seen = []
    for _ in tqdm(range(2), desc="outer", file=screen):
        for _ in tqdm(range(3), desc="inner", leave=False, file=screen):
            (op,) = RUNTIME.running
            assert isinstance(op, OperationLifecycle)
            seen.append((op.percent, (op.reporter.read(0.0).message or "")[:9]))
    assert seen == [(share, f"inner: {n}/") for share in (0, 50) for n in range(3)]
    assert reported.kinds() == ["start", "complete"]
    assert ends(reported) == [("complete", 100)]


def test_bar_inside_an_operation_counts_for_it(reported: Reported, screen: io.StringIO) -> None:
    with tidings.operation("Job") as op:
        for _ in tqdm(range(4), desc="Rows", file=screen):
            pass
        assert op.percent == 100
    assert reported.kinds() == ["start", "complete"]


def test_bar_inside_a_step_counts_for_the_step(reported: Reported, screen: io.StringIO) -> None:
    with tidings.operation("Job", steps=["a", "b"]) as op:
        with op.step("a"):
            shares = [op.percent for _ in tqdm(range(4), file=screen)]
        assert shares == [0, 12.5, 25, 37.5]
        for _ in tqdm(range(2), desc="b", file=screen):
            pass
        assert op.percent == 100, "it was the planned step of its name"


def test_bar_inside_a_step_of_a_started_operation_counts_there(reported: Reported, screen: io.StringIO) -> None:
    op = tidings.start("Job", steps=["a", "b"])
    with op.step("a"):
        shares = [op.percent for _ in tqdm(range(4), file=screen)]
    op.complete()
    assert shares == [0, 12.5, 25, 37.5]
    assert reported.kinds() == ["start", "complete"]


@pytest.mark.parametrize("disable", [False, None])
def test_count_that_the_program_assigns_is_reported(
    reported: Reported, screen: io.StringIO, disable: bool | None
) -> None:
    bar = tqdm(total=100, file=screen, disable=disable)
    (op,) = RUNTIME.running
    assert isinstance(op, OperationLifecycle)
    bar.update(10)
    bar.n = 40
    bar.refresh()
    assert op.percent == 40
    bar.n = 60
    bar.close()
    assert ends(reported) == [("complete", 60)]


def test_refresh_inside_a_loop_does_not_lower_the_count(reported: Reported, screen: io.StringIO) -> None:
    shares = []
    bar = tqdm(range(4), file=screen, mininterval=1_000, miniters=1_000)
    (op,) = RUNTIME.running
    assert isinstance(op, OperationLifecycle)
    for _ in bar:
        bar.refresh()
        shares.append(op.percent)
    assert shares == [0, 25, 50, 75]


def test_with_block_reports_why_its_loop_was_left(reported: Reported, screen: io.StringIO) -> None:
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
    assert next(data for kind, data in reported.received() if kind == "failed")["code"] == "lookup_error"


def test_loop_left_early_is_cancelled_with_its_count(reported: Reported, screen: io.StringIO) -> None:
    for number in tqdm(range(10), file=screen):
        if number == 4:
            break
    assert reported.last()[1]["reason"] == "left after 4/10 it"


def test_iterable_that_raises_fails_the_operation(reported: Reported, screen: io.StringIO) -> None:
    def rows() -> Iterator[int]:
        yield 1
        raise OSError("the file is gone")

    with pytest.raises(OSError, match="the file is gone"):
        list(tqdm(rows(), file=screen))
    assert reported.last()[1]["code"] == "os_error"


def test_loop_inside_an_except_block_completes(reported: Reported, screen: io.StringIO) -> None:
    try:
        raise ValueError("handled")
    except ValueError:
        list(tqdm(range(3), file=screen))
        bar = tqdm(total=1, file=screen)
        bar.close()
    assert [kind for kind, _ in ends(reported)] == ["complete", "complete"]


def test_changes_of_total_and_description_are_reported(reported: Reported, screen: io.StringIO) -> None:
    bar = tqdm(desc="Growing", file=screen)
    bar.update(5)
    bar.total = 20
    bar.refresh()
    bar.reset(total=10)
    bar.update(4)
    bar.close()
    assert ends(reported) == [("complete", 40)]


@pytest.mark.parametrize("disable", [False, None])
def test_postfix_and_total_without_a_refresh_are_reported_at_the_end(
    reported: Reported, screen: io.StringIO, disable: bool | None
) -> None:
    with tidings.operation("Job") as op:
        bar = tqdm(desc="Rows", total=10, file=screen, disable=disable)
        bar.set_postfix(loss=2)
        bar.update(3)
        bar.total = 6
        bar.set_postfix(loss=1, refresh=False)
        bar.close()
        bar.total = 4
        bar.set_postfix(loss=7)
        bar.update(2)
    (last,) = (data for kind, data in reported.received(op.id)[-2:] if kind == "progress")
    assert (last["progress"], last["message"]) == (50, "Rows: 3/6 it, loss=1")


def test_trange_reports_like_tqdm(reported: Reported, screen: io.StringIO) -> None:
    assert list(trange(2, 6, 2, file=screen)) == [2, 4]
    assert ends(reported) == [("complete", 100)]


async def test_asynchronous_loop_reports(reported: Reported, screen: io.StringIO) -> None:
    async def rows() -> AsyncIterator[int]:
        for number in range(4):
            yield number

    seen = [row async for row in tqdm(rows(), total=4, file=screen)]
    results = await tqdm.gather(asyncio.sleep(0, "a"), asyncio.sleep(0, "b"), file=screen)
    assert (seen, results) == ([0, 1, 2, 3], ["a", "b"])
    assert await asyncio.to_thread(ends, reported) == [("complete", 100), ("complete", 100)]


def test_cancel_ends_the_loop(reported: Reported, screen: io.StringIO) -> None:
    def follow() -> None:
        for number in tqdm(range(1 << 60), file=screen):
            if not number:
                assert RUNTIME.flush(TIMEOUT_S) == 0
                (op,) = RUNTIME.running
                assert isinstance(op, OperationLifecycle)
                with sync.connect() as client:
                    client.cancel(op.id, reason="enough", timeout_s=0)

    with pytest.raises(tidings.OperationCancelled, match="enough"):
        follow()
    assert reported.last()[0] == "cancelled"


def test_import_without_tqdm_raises_missing_extra(tmp_path: Path) -> None:
    code = """
    sys.modules["tqdm"] = None
    try:
        import tidings.tqdm
    except tidings.MissingExtra as error:
        assert error.hint == "pip install 'tidings[all]'", error.hint
        emit("missing extra")
    """
    assert run(code, "ws://127.0.0.1:9/ws", tmp_path) == (0, "")
