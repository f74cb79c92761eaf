import asyncio
import logging
import logging.config
import logging.handlers
import os
import queue
import re
import subprocess
import sys
import threading
import weakref
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.client.hub_server import TIMEOUT_S
from tests.producer.reported import Reported

import tidings
from tidings.integrations.logging import LineBudget, OperationFilter, OperationHandler
from tidings.producer.emitter import MAX_LINE_CHARS

Lines = list[tuple[str, str]]
"""Level and message of each line of a log."""
TRICKLE = 0.001
"""Lines per second: the bucket gains none during a test."""


@pytest.fixture
def logger() -> logging.Logger:
    """A logger outside of the tree, so that no other handler receives its records."""
    return logging.Logger("shop.prices", logging.DEBUG)


def lines(reported: Reported, operation: tidings.Operation) -> Lines:
    return [(data["level"], data["message"]) for kind, data in reported.received(operation.id) if kind == "log"]


def test_record_goes_to_the_operation_around_it(reported: Reported, logger: logging.Logger) -> None:
    logger.addHandler(OperationHandler())
    logger.info("no operation is running")
    with tidings.operation("Outer") as outer:
        logger.info("%d rows of %s", 3, "prices")
        with tidings.operation("Inner") as inner:
            logger.error("inside")
        logger.debug("outside again")
    logger.info("no operation is running any more")
    assert lines(reported, outer) == [("info", "3 rows of prices"), ("debug", "outside again")]
    assert lines(reported, inner) == [("error", "inside")]


@pytest.mark.parametrize(
    ("number", "level"),
    [
        (1, "debug"),
        (10, "debug"),
        (20, "info"),
        (25, "info"),
        (30, "warning"),
        (45, "error"),
        (50, "critical"),
        (99, "critical"),
    ],
)
def test_every_level_maps_to_a_wire_level(number: int, level: str, reported: Reported, logger: logging.Logger) -> None:
    logger.setLevel(1)
    logger.addHandler(OperationHandler())
    with tidings.operation("Level") as op:
        logger.log(number, "so")
    assert lines(reported, op) == [(level, "so")]


def test_exception_record_includes_its_traceback(reported: Reported, logger: logging.Logger) -> None:
    logger.addHandler(OperationHandler())
    with tidings.operation("Fail") as op:
        try:
            [][1]
        except IndexError:
            logger.exception("row %d", 7)
    ((level, message),) = lines(reported, op)
    assert level == "error"
    assert message.startswith("row 7\nTraceback")
    assert message.endswith("IndexError: list index out of range")


def test_long_line_keeps_its_start_and_end(reported: Reported, logger: logging.Logger) -> None:
    logger.addHandler(OperationHandler())
    with tidings.operation("Long") as op:
        logger.error("begin %s end", "x" * 100_000)
    ((_, message),) = lines(reported, op)
    assert len(message) == MAX_LINE_CHARS
    assert message.startswith("begin xxx")
    assert message.endswith("xxx end")


def test_formatter_and_filters_of_the_handler_apply(reported: Reported, logger: logging.Logger) -> None:
    handler = OperationHandler(logging.INFO)
    handler.setFormatter(logging.Formatter("%(name)s | %(message)s"))
    handler.addFilter(lambda record: "secret" not in record.getMessage())
    logger.addHandler(handler)
    with tidings.operation("Format") as op:
        logger.debug("too low")
        logger.info("a secret")
        logger.info("fine")
    assert lines(reported, op) == [("info", "shop.prices | fine")]


def test_record_of_another_thread_goes_to_the_default_operation(reported: Reported, logger: logging.Logger) -> None:
    op = tidings.start("Import")
    logger.addHandler(OperationHandler(operation=op))
    thread = threading.Thread(target=logger.info, args=("from a thread",))
    thread.start()
    thread.join(TIMEOUT_S)
    with tidings.operation("Within") as within:
        logger.info("in a block")
    op.complete()
    logger.info("too late")
    assert lines(reported, op) == [("info", "from a thread")]
    assert lines(reported, within) == [("info", "in a block")]


def test_operation_function_is_called_for_each_record(reported: Reported, logger: logging.Logger) -> None:
    at_work: list[tidings.Operation] = []
    logger.addHandler(OperationHandler(operation=lambda: at_work[-1] if at_work else None))
    logger.info("nothing yet")
    at_work.append(tidings.start("First"))
    logger.info("one")
    at_work.append(tidings.start("Second"))
    logger.info("two")
    for op in at_work:
        op.complete()
    assert [lines(reported, op) for op in at_work] == [[("info", "one")], [("info", "two")]]


def test_record_does_not_begin_a_queued_operation(reported: Reported, logger: logging.Logger) -> None:
    op = tidings.start("Later", queued=True)
    logger.addHandler(OperationHandler(operation=op))
    logger.info("before its turn")
    assert op.state == "queued"
    op.cancel()
    assert reported.kinds(op.id) == ["start", "cancelled"]


async def test_record_of_a_task_goes_to_the_operation_that_started_it(
    reported: Reported, logger: logging.Logger
) -> None:
    logger.addHandler(OperationHandler())

    async def one(number: int) -> tidings.Operation:
        async with tidings.operation(f"Task {number}") as op:
            for _ in range(3):
                logger.info("in %d", number)
                await asyncio.sleep(0)
                await asyncio.to_thread(logger.warning, "beside %d", number)
        return op

    for number, op in enumerate(await asyncio.gather(*map(one, range(5)))):
        assert lines(reported, op) == [("info", f"in {number}"), ("warning", f"beside {number}")] * 3


def test_filter_keeps_the_operation_behind_a_queue(reported: Reported, logger: logging.Logger) -> None:
    records: queue.Queue[Any] = queue.Queue()
    sender = logging.handlers.QueueHandler(records)
    sender.addFilter(OperationFilter())
    logger.addHandler(sender)
    listener = logging.handlers.QueueListener(records, OperationHandler())
    logger.info("nobody's")
    with tidings.operation("Queue") as op:
        logger.info("first")
        with tidings.operation("Part") as part:
            logger.info("second")
        try:
            int("x")
        except ValueError:
            logger.exception("third")
        listener.start()
        listener.stop()  # once everything in the queue is handled
    assert lines(reported, part) == []  # it has ended
    first, third = lines(reported, op)
    assert first == ("info", "first")
    assert third[1].startswith("third\nTraceback")


def test_handler_is_configured_by_dict_config(reported: Reported) -> None:
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"short": {"format": "[%(levelname)s] %(message)s"}},
            "handlers": {
                "operation": {
                    "class": "tidings.integrations.logging.OperationHandler",
                    "level": "INFO",
                    "formatter": "short",
                    "burst": 5,
                    "per_second": TRICKLE,
                }
            },
            "loggers": {"shop.orders": {"handlers": ["operation"], "level": "DEBUG", "propagate": False}},
        }
    )
    logger = logging.getLogger("shop.orders")
    with tidings.operation("Configured") as op:
        logger.debug("too low")
        for number in range(6):
            logger.warning("%d", number)
    assert lines(reported, op) == [
        *(("warning", f"[WARNING] {number}") for number in range(5)),
        ("warning", "… and 1 more"),
    ]
    logger.removeHandler(logger.handlers[0])


def test_burst_of_records_is_cut_off_and_counted(reported: Reported, logger: logging.Logger) -> None:
    logger.addHandler(OperationHandler(burst=8, per_second=TRICKLE))
    with tidings.operation("Flood") as op:
        for number in range(10_000):
            logger.info("%d", number)
        logger.error("seen nevertheless")
    first, rest = lines(reported, op)[:6], lines(reported, op)[6:]
    assert first == [("info", f"{number}") for number in range(6)]
    # The number of missing lines is logged after a while, and at the end: on a slow machine before the error, too.
    assert ("error", "seen nevertheless") in rest
    missing = [message for level, message in rest if level == "info"]
    assert sum(int(re.sub(r"[^0-9]", "", message)) for message in missing) == 9_994, missing


def test_flush_logs_the_number_of_missing_lines(reported: Reported, logger: logging.Logger) -> None:
    handler = OperationHandler(burst=4, per_second=TRICKLE)
    logger.addHandler(handler)
    with tidings.operation("Flush") as op:
        for number in range(5):
            logger.info("%d", number)
        handler.flush()
        handler.flush()
    assert [message for _, message in lines(reported, op)] == ["0", "1", "2", "… and 2 more"]


def test_next_attempt_has_its_own_budget(reported: Reported, logger: logging.Logger) -> None:
    logger.addHandler(OperationHandler(burst=4, per_second=TRICKLE))
    op = tidings.operation("Again")
    for _ in range(2):
        with op:
            for number in range(4):
                logger.info("%d", number)
    assert [message for _, message in lines(reported, op)] == ["0", "1", "2", "… and 1 more"] * 2


def test_record_logged_while_emitting_is_dropped(reported: Reported, logger: logging.Logger) -> None:
    root = logging.getLogger()
    handler = OperationHandler()
    root.addHandler(handler)

    def redact(payload: dict[str, Any]) -> dict[str, Any]:
        root.warning("redacting %s", payload["operation_id"])
        return payload

    try:
        with tidings.operation("Redact", redact=redact) as op:
            root.warning("one")
            logging.getLogger("tidings.producer").warning("of tidings")
            logging.getLogger("tidingsboard").warning("not of tidings")
    finally:
        root.removeHandler(handler)
    received = [message for _, message in lines(reported, op) if not message.startswith("redacting")]
    assert received == ["one", "not of tidings"]
    assert len(lines(reported, op)) <= 4


def test_reporting_and_logging_threads_do_not_deadlock(reported: Reported, logger: logging.Logger) -> None:
    """`redact` logs with the lock of the operation held, while other threads log and wait for that lock."""
    logger.addHandler(OperationHandler(burst=100_000))

    def redact(payload: dict[str, Any]) -> dict[str, Any]:
        logger.debug("seen")
        return payload

    def log(op: tidings.Operation) -> None:
        with op.child("Part"):
            for _ in range(300):
                logger.info("line")

    with tidings.operation("Both", redact=redact) as op:
        fallback = OperationHandler(operation=op)
        logger.addHandler(fallback)
        threads = [threading.Thread(target=log, args=(op,), daemon=True) for _ in range(3)]
        for thread in threads:
            thread.start()
        for number in range(300):
            op.progress(number / 3)
            op.log("own")
        for thread in threads:
            thread.join(TIMEOUT_S)
    assert not any(thread.is_alive() for thread in threads)


def test_flush_while_operations_end_does_not_deadlock(reported: Reported, logger: logging.Logger) -> None:
    """A new configuration of logging flushes, too: `logging.shutdown` holds the lock of the handler."""
    handler = OperationHandler(burst=1, per_second=TRICKLE)
    logger.addHandler(handler)
    over = threading.Event()

    def shut_down() -> None:
        while not over.is_set():
            logging.shutdown([weakref.ref(handler)])

    thread = threading.Thread(target=shut_down, daemon=True)
    thread.start()
    for _ in range(200):
        with tidings.operation("Short") as op:
            for number in range(5):
                logger.error("%d", number)
    over.set()
    thread.join(TIMEOUT_S)
    assert not thread.is_alive()
    counts = [message for _, message in lines(reported, op) if message.startswith("… and")]
    assert sum(int(message.split()[2]) for message in counts) == 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_forked_child_can_log(tmp_path: Path) -> None:
    """The child can log even if another thread was logging during the fork."""
    code = """
import logging, os, threading
from contextlib import nullcontext
import tidings
from tidings.integrations.logging import OperationHandler

handler = OperationHandler()
logging.getLogger().addHandler(handler)
held, over = threading.Event(), threading.Event()

def hold():
    try:
        with handler._budget_lock.guard():
            held.set()
            over.wait()
    finally:
        held.set()

threading.Thread(target=hold, daemon=True).start()
held.wait()
assert isinstance(handler._budget_lock.guard(), nullcontext), "the lock is not held"
child = os.fork()
if child == 0:
    assert not isinstance(handler._budget_lock.guard(), nullcontext), "the lock is inherited"
    with tidings.operation("Child"):
        logging.error("goes on")
    os._exit(7)
_, status = os.waitpid(child, 0)
over.set()
raise SystemExit(os.waitstatus_to_exitcode(status))
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={**os.environ, "TIDINGS_DISABLED": "1"},
        timeout=TIMEOUT_S,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 7


def test_unformattable_record_is_reported_by_logging(
    reported: Reported, logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    logger.addHandler(OperationHandler())
    with tidings.operation("Bad") as op:
        logger.info("%d", "no number")
        logger.info("goes on")
    assert "Logging error" in capsys.readouterr().err
    assert lines(reported, op) == [("info", "goes on")]


class TestAllowance:
    def test_burst_is_accepted_and_time_refills_the_bucket(self) -> None:
        allowance = LineBudget(burst=4, per_second=1)
        assert [allowance.take(logging.ERROR, 0.0) for _ in range(5)] == [True] * 4 + [False]
        assert not allowance.take(logging.ERROR, 0.5)
        assert allowance.take(logging.ERROR, 1.0)
        assert allowance.due
        assert allowance.take_shed() == (2, logging.ERROR)
        assert not allowance.due

    def test_quarter_of_the_bucket_is_reserved_for_warnings(self) -> None:
        allowance = LineBudget(burst=8, per_second=1)
        assert sum(allowance.take(logging.INFO, 0.0) for _ in range(100)) == 6
        assert sum(allowance.take(logging.WARNING, 0.0) for _ in range(100)) == 2

    def test_missing_lines_are_in_one_place(self) -> None:
        """After shedding, the bucket fills for a second; then lines pass, after the count of the missing ones."""
        allowance = LineBudget(burst=100, per_second=10)
        passed: list[int] = []
        for tick in range(1_000):
            if allowance.take(logging.INFO, tick / 100):
                passed.append(tick)
                assert allowance.due == (tick - passed[-2] > 1 if len(passed) > 1 else False)
                if allowance.due:
                    allowance.take_shed()
        gaps = [later - earlier for earlier, later in pairwise(passed) if later - earlier > 1]
        assert len(gaps) in (8, 9)
        assert min(gaps) >= 90
        assert len(passed) <= 75 + 10 * 10

    def test_counts_among_warnings_come_once_a_second(self) -> None:
        allowance = LineBudget(burst=4, per_second=10)
        counts = 0
        for tick in range(1_000):
            allowance.take(logging.WARNING, tick / 100)
            if allowance.due:
                counts += 1
                assert allowance.take_shed()[0] > 0
        assert 8 <= counts <= 10
