import pytest
from tests.cli.processes import Hub, Process, publish_operation, tidings


def write_lines(hub: Hub, id: str, *lines: str) -> None:
    for line in lines:
        publish_operation(hub, "log", id, level="warning", message=line)


def test_logs_prints_the_lines_of_one_operation_in_order(shared_hub: Hub) -> None:
    publish_operation(shared_hub, "start", "logs/1", name="Import")
    write_lines(shared_hub, "logs/1", "one", "two")
    write_lines(shared_hub, "logs/11", "of another")
    done = tidings("logs", "logs/1", "--url", shared_hub.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split(" ", 1)[1] for line in done.stdout.splitlines()] == ["warning one", "warning two"]
    newest = tidings("logs", "logs/1", "-n", "1", "--url", shared_hub.url)
    assert [line.split()[-1] for line in newest.stdout.splitlines()] == ["two"]


def test_following_logs_ends_with_the_operation(shared_hub: Hub) -> None:
    publish_operation(shared_hub, "start", "logs/followed", name="Import")
    write_lines(shared_hub, "logs/followed", "before")
    with Process("logs", "-f", "logs/followed", "--url", shared_hub.url) as following:
        assert following.read_line().endswith("warning before\n")
        write_lines(shared_hub, "logs/followed", "after")
        assert following.read_line().endswith("warning after\n")
        publish_operation(shared_hub, "complete", "logs/followed")
        assert following.wait() == (0, "", "")


@pytest.mark.parametrize("options", [(), ("--follow",)])
def test_logs_of_an_ended_operation_ends(shared_hub: Hub, options: tuple[str, ...]) -> None:
    id = f"logs/ended{len(options)}"
    publish_operation(shared_hub, "start", id, name="Import")
    publish_operation(shared_hub, "complete", id)
    assert tidings("logs", id, *options, "--url", shared_hub.url).stdout == ""


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (("logs", "no-such"), 5, "no such operation: 'no-such'"),
        (("logs", "x", "--url", "ws://127.0.0.1:1/ws"), 69, "no hub answers"),
    ],
)
def test_logs_of_nothing_is_an_error(shared_hub: Hub, arguments: tuple[str, ...], code: int, error: str) -> None:
    done = tidings(*arguments, TIDINGS_URL=shared_hub.url)
    assert done.returncode == code
    assert error in done.stderr
