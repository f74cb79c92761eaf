"""Reports of tasks that run eagerly in this process; `test_celery` has real workers."""

from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery, signals
from celery.exceptions import Ignore
from tests.producer import hostile
from tests.producer.reported import Reported

import tidings
from tidings.integrations.celery import connect
from tidings.integrations.celery_reporter import TaskReporter


@pytest.fixture
def app() -> Iterator[Celery]:
    made = Celery("shop", broker="memory://", backend="cache+memory://", set_as_current=False)
    made.conf.task_always_eager = True
    yield made
    made.close()


class Connected:
    """Reporters that are disconnected at the end, so that they do not report the tasks of other tests."""

    def __init__(self) -> None:
        self._reporters: list[TaskReporter] = []

    def __call__(self, app: Celery, **options: Any) -> TaskReporter:
        self._reporters.append(connect(app, **options))
        return self._reporters[-1]

    def disconnect(self) -> None:
        for reporter in self._reporters:
            reporter.disconnect()


@pytest.fixture
def connected() -> Iterator[Connected]:
    connected = Connected()
    yield connected
    connected.disconnect()


def add(a: int, b: int) -> int:
    return a + b


def divide() -> float:
    return 1 / 0


def test_arguments_and_results_are_not_reported_by_default(
    reported: Reported, app: Celery, connected: Connected
) -> None:
    connected(app)
    task_id = app.task(add).delay(1, 2).id
    received = dict(reported.received(task_id))
    assert received["start"]["name"].endswith("test_celery_signals.add")
    assert "metadata" not in received["start"]
    assert "result" not in received["complete"]


def test_arguments_and_results_are_reported_on_request(reported: Reported, app: Celery, connected: Connected) -> None:
    connected(app, arguments=True, results=True, name=lambda name: name.rpartition(".")[2].title())
    received = dict(reported.received(app.task(add).delay(1, b=2).id))
    assert received["start"]["name"] == "Add"
    assert received["start"]["metadata"] == {"arguments": {"args": [1], "kwargs": {"b": 2}}}
    assert received["complete"]["result"] == 3


def test_secrets_in_arguments_are_redacted(reported: Reported, app: Celery, connected: Connected) -> None:
    connected(app, arguments=True)

    def log_in(url: str, password: str) -> None:
        raise ValueError(f"{url} refused password={password}")

    task_id = app.task(log_in).delay("https://ann:hunter2@example.com/", password="hunter2").id
    received = dict(reported.received(task_id))
    assert received["start"]["metadata"]["arguments"] == {
        "args": ["https://ann:REDACTED@example.com/"],
        "kwargs": {"password": "REDACTED"},
    }
    assert "hunter2" not in str(received)


def test_redact_receives_the_payloads_of_tasks(reported: Reported, app: Celery, connected: Connected) -> None:
    def redact(payload: dict[str, Any]) -> dict[str, Any]:
        return {name: "…" if name in ("message", "details") else value for name, value in payload.items()}

    connected(app, redact=redact)
    task_id = app.task(divide).delay().id
    kind, data = reported.last(task_id)
    assert (kind, data["code"], data["message"], data["details"]) == ("failed", "zero_division_error", "…", "…")


def test_ignored_tasks_are_not_reported(reported: Reported, app: Celery, connected: Connected) -> None:
    connected(app, ignore=("celery.*", "house*"))
    for name in ("celery.backend_sweep", "housekeeping", "import"):
        app.task(add, name=name).delay(1, 2)
    assert [data["name"] for kind, data in reported.received() if kind == "start"] == ["import"]


def test_eager_retry_is_the_next_attempt(reported: Reported, app: Celery, connected: Connected) -> None:
    connected(app, results=True)

    @app.task(bind=True)  # type: ignore[untyped-decorator]
    def flaky(self: Any) -> int:
        if self.request.retries < 2:
            raise self.retry(exc=ConnectionError("away"))
        return int(self.request.retries)

    task_id = flaky.delay().id
    assert reported.kinds(task_id) == ["start", "failed", "start", "failed", "start", "complete"]
    assert reported.last(task_id)[1]["result"] == 2


def test_task_sent_by_a_task_is_its_child(reported: Reported, app: Celery, connected: Connected) -> None:
    connected(app)
    inner = app.task(add)

    @app.task  # type: ignore[untyped-decorator]
    def outer() -> None:
        operation = tidings.current_operation()
        assert operation is not None
        inner.delay(1, 2)
        assert tidings.current_operation() is operation

    task_id = outer.delay().id
    assert reported.kinds(task_id) == ["start", "complete"]
    assert tidings.current_operation() is None


def test_end_reported_by_the_task_stands(reported: Reported, app: Celery, connected: Connected) -> None:
    connected(app)

    def judge() -> None:
        operation = tidings.current_operation()
        assert operation is not None
        operation.fail("no_prices", "the file is empty")

    assert reported.last(app.task(judge).delay().id)[1]["code"] == "no_prices"


def test_error_in_reporting_does_not_affect_the_task(reported: Reported, app: Celery, connected: Connected) -> None:
    def name(task: str) -> str:
        raise LookupError(task)

    connected(app, name=name)
    assert app.task(add).delay(1, 2).get(disable_sync_subtasks=False) == 3
    assert reported.received() == []


@pytest.mark.parametrize("name", ["Hint", "OddHint", "Raises"])
def test_task_whose_exception_cannot_be_read_is_failed(
    name: str, reported: Reported, app: Celery, connected: Connected
) -> None:
    connected(app)
    kind: type[Exception] = getattr(hostile, name)

    def work() -> None:
        raise kind("x")

    result = app.task(work, name=f"raises {name}").delay()
    assert type(result.result) is kind
    assert reported.kinds(result.id) == ["start", "failed"]
    assert reported.last(result.id)[1]["code"] in ("hint", "odd_hint", "raises")


def test_failed_task_without_a_reported_exception_is_failed(
    reported: Reported, app: Celery, connected: Connected
) -> None:
    """Celery sends `task_failure` through its signals, which other receivers may break."""
    reporter = connected(app)
    signals.task_failure.disconnect(dispatch_uid=f"tidings task_failure {id(reporter)}")
    assert reported.last(app.task(divide).delay().id)[0] == "failed"


def test_blocked_task_is_ignored_before_it_runs(reported: Reported, app: Celery, connected: Connected) -> None:
    ran = []

    def touch() -> None:
        ran.append(1)

    task = app.task(touch)
    reporter = connected(app)
    app.finalize()
    reporter.canceller.block("op-1", "too late")
    with pytest.raises(Ignore, match="too late"):
        task.before_start("op-1", (), {})
    reporter.canceller.unblock("op-1")
    task.before_start("op-1", (), {})
    assert task.delay().successful()
    assert ran == [1]


def test_two_apps_report_their_own_tasks(reported: Reported, app: Celery, connected: Connected) -> None:
    with Celery("other", broker="memory://", set_as_current=False) as other:
        other.conf.task_always_eager = True
        connected(app, name=lambda name: f"shop {name}")
        connected(other, name=lambda name: f"other {name}")
        app.task(add, name="add").delay(1, 2)
        other.task(add, name="add").delay(1, 2)
    assert [data["name"] for kind, data in reported.received() if kind == "start"] == ["shop add", "other add"]


def test_disconnected_reporter_reports_nothing(reported: Reported, app: Celery, connected: Connected) -> None:
    connected(app).disconnect()
    app.task(add).delay(1, 2)
    assert reported.received() == []
