from pathlib import Path

from tests.cli.processes import Hub
from tests.examples.programs import of_operation, run


def lines(hub: Hub, name: str) -> list[tuple[str, str]]:
    return [(data["level"], data["message"]) for kind, data in of_operation(hub, name) if kind == "log"]


def test_example_copies_records_to_the_operation_log(shared_hub: Hub, tmp_path: Path) -> None:
    done = run("logging_handler.py", shared_hub, tmp_path)
    assert "row '?' has no price" in done.stderr
    failed, *others = lines(shared_hub, "Import prices")
    assert failed[0] == "error"
    assert failed[1].startswith("row '?' has no price\nTraceback")
    assert others == [("info", "3 rows read")]
    assert lines(shared_hub, "Import behind a queue") == [("info", "1 rows to read")]
