from pathlib import Path

from tests.cli.processes import Hub
from tests.examples.programs import events, of_operation, run


def test_each_kind_of_operation_reaches_the_hub(shared_hub: Hub, tmp_path: Path) -> None:
    done = run("reporting.py", shared_hub, tmp_path)
    assert done.stderr == ""
    assert done.stdout == "failed, and the exception continued: a price below zero\n"
    prices = of_operation(shared_hub, "Load prices")
    assert prices[0][1]["steps"] == ["fetch", "parse"]
    assert [data["message"] for kind, data in prices if kind == "log"] == ["200 rows fetched"]
    assert [data["current_step"] for kind, data in prices if kind == "progress"][-1] == "parse"
    assert prices[-1][0] == "complete"
    assert prices[-1][1]["result"] == {"rows": 200, "sum": 20_000.0}
    assert [kind for kind, _ in of_operation(shared_hub, "Warm caches") if kind != "progress"] == [
        "start",
        *["log"] * 3,
        "complete",
    ]
    assert of_operation(shared_hub, "Explore")[-1][0] == "complete"
    # Two calls of a decorated function are two operations.
    every = [event["data"] for event in events(shared_hub, "channel=operations&limit=1000")]
    calls = [data["operation_id"] for data in every if data.get("name") == "Check prices"]
    assert len(set(calls)) == 2
    [failure] = [data for data in every if data.get("code") == "value_error"]
    assert failure["operation_id"] == calls[1]
    assert 'raise ValueError("a price below zero")' in failure["details"]


def test_example_works_without_a_hub(tmp_path: Path) -> None:
    class Nowhere(Hub):
        def __init__(self) -> None:
            self.url = "ws://127.0.0.1:9/ws"

    done = run("reporting.py", Nowhere(), tmp_path)
    assert done.stdout == "failed, and the exception continued: a price below zero\n"
    assert done.stderr == "tidings: no hub answers at 127.0.0.1:9; the job continues, events are kept and sent later\n"


def test_tqdm_example_reaches_the_hub(shared_hub: Hub, tmp_path: Path) -> None:
    done = run("tqdm_loop.py", shared_hub, tmp_path)
    assert done.stdout.startswith("loss 0.366")
    assert "Train: 100%" in done.stderr, "the bar is where it was"
    received = of_operation(shared_hub, "Train")
    assert received[-1][0] == "complete"
    progress = [data for kind, data in received if kind == "progress"]
    assert (progress[-1]["progress"], progress[-1]["message"][:10]) == (100, "2/2 epochs")
