"""`tidings watch` on real terminals, as a person sees it."""

import json
import os
import select
import signal
import termios
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from tests.cli.processes import TIMEOUT_S, Hub, Process, Terminal, tidings
from tests.cli.watch.emulated_screen import EmulatedScreen


def publish(hub: Hub, *envelopes: tuple[str, dict[str, Any]], **members: str) -> None:
    batch = [{"type": type, "data": data, **members} for type, data in envelopes]
    answer = httpx.post(f"{hub.http}v1/events", json=batch).raise_for_status().json()
    assert not [result for result in answer["results"] if "error" in result]


def begin(id: str, **more: Any) -> tuple[str, dict[str, Any]]:
    return ("operation:start", {"operation_id": id, "name": f"job {id}", **more})


def fail(id: str) -> tuple[str, dict[str, Any]]:
    return ("operation:failed", {"operation_id": id, "code": "c", "message": "m", "recoverable": False})


class Watched(Terminal):
    """A watch on a terminal, with the screen that it draws."""

    def __init__(self, *arguments: str, columns: int = 80, lines: int = 24) -> None:
        super().__init__("watch", *arguments, columns=columns, lines=lines)
        self.screen = EmulatedScreen(columns, lines)
        self._fed = 0

    def see(self, condition: Callable[[list[str]], bool]) -> list[str]:
        """Read until the screen is as expected, and return its lines."""
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            self.screen.feed(self.raw[self._fed :])
            self._fed = len(self.raw)
            if condition(self.screen.text):
                return self.screen.text
            assert time.monotonic() < deadline, "\n".join(self.screen.text)
            assert self._read(), "\n".join(self.screen.text)

    def see_text(self, text: str) -> list[str]:
        return self.see(lambda lines: any(text in line for line in lines))

    def resize(self, columns: int, lines: int) -> None:
        self.screen.resize(columns, lines)
        super().resize(columns, lines)

    def modes(self) -> Any:
        return termios.tcgetattr(self._master)


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (40, 10)])
def test_two_hundred_operations_fit_the_terminal_with_failures_on_top(
    shared_hub: Hub, columns: int, lines: int
) -> None:
    prefix = f"fit{columns}"
    publish(shared_hub, *(begin(f"{prefix}-{number:03}") for number in range(200)))
    with Watched(f"operations/{prefix}-*", "--url", shared_hub.url, columns=columns, lines=lines) as watch:
        watch.see_text("more running")
        publish(shared_hub, fail(f"{prefix}-000"))
        picture = watch.see(lambda shown: is_whole(shown) and any("ago" in line for line in shown))
        top = next(line for line in picture if "ago" in line)
        assert f"job {prefix}-000" in top
        rows = [line for line in picture if "━" in line]
        assert len(rows) == lines - 4
        assert f"… and {199 - len(rows)} more running" in picture
        assert all(len(line) <= columns for line in picture)


def is_whole(shown: list[str]) -> bool:
    """Return whether no picture is half drawn: its status line comes last."""
    return [*[line for line in shown if line], ""][-2].startswith("● live") if any(shown) else False


def test_resized_terminal_shows_one_whole_picture(shared_hub: Hub) -> None:
    publish(shared_hub, *(begin(f"size-{number}", name=f"日本語 {number}") for number in range(5)), fail("size-0"))
    with Watched("operations/size-*", "--url", shared_hub.url, columns=100, lines=24) as watch:
        watch.see_text("4 running")
        for columns, lines in ((40, 10), (120, 30), (60, 8), (80, 24)):
            watch.resize(columns, lines)
            width = f"{columns}x{lines}"
            id = f"size-{columns}"
            publish(shared_hub, begin(id, name=width), ("operation:complete", {"operation_id": id}))
            watch.see_text(f"✔ {width} complete")
            picture = watch.see(is_whole)
            assert sum("● live" in line for line in picture) == 1
            assert sum("日本語 3" in line for line in picture) == 1
            assert sum("━" in line for line in picture) == 4


def test_joining_shows_the_newest_of_the_past_only(shared_hub: Hub) -> None:
    ends = [("operation:complete", {"operation_id": f"past-{number:03}"}) for number in range(300)]
    publish(shared_hub, *ends)
    with Watched("operations/past-*", "--url", shared_hub.url, lines=40) as watch:
        picture = watch.see(lambda shown: is_whole(shown) and any("✔ 300" in line for line in shown))
        assert "… 280 earlier lines are left out; --since 1h shows the last hour" in picture
        assert sum("✔ past-" in line for line in picture) == 20
        assert any("past-299" in line for line in picture)


def test_q_quits_and_restores_the_terminal(shared_hub: Hub) -> None:
    with Watched("operations/none", "--url", shared_hub.url) as watch:
        before = watch.modes()
        watch.see_text("q quits")
        assert not watch.modes()[3] & (termios.ECHO | termios.ICANON)
        watch.press(b"xq")
        assert watch.wait() == 0
        assert watch.modes()[3] & (termios.ECHO | termios.ICANON) == before[3] & (termios.ECHO | termios.ICANON)
    watch.screen.feed(watch.raw)
    assert watch.screen.cursor_shown


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (lambda watch: watch.press(b"\x03"), 130),
        (lambda watch: watch.process.send_signal(signal.SIGTERM), 143),
    ],
)
def test_interrupted_watch_restores_the_terminal(shared_hub: Hub, end: Callable[[Watched], None], code: int) -> None:
    with Watched("operations/none", "--url", shared_hub.url) as watch:
        watch.see_text("q quits")
        end(watch)
        assert watch.wait() == code
        assert watch.modes()[3] & termios.ECHO
        assert watch.modes()[3] & termios.ICANON
    watch.screen.feed(watch.raw)
    assert watch.screen.cursor_shown


def test_stopped_watch_restores_the_terminal_and_continues(shared_hub: Hub) -> None:
    with Watched("operations/stop-*", "--url", shared_hub.url) as watch:
        watch.see_text("q quits")
        watch.process.send_signal(signal.SIGTSTP)
        assert os.waitid(os.P_PID, watch.process.pid, os.WSTOPPED | os.WNOWAIT) is not None
        assert watch.modes()[3] & termios.ECHO
        watch.process.send_signal(signal.SIGCONT)
        publish(shared_hub, begin("stop-1"))
        watch.see_text("job stop-1")
        assert not watch.modes()[3] & termios.ECHO
        watch.press(b"q")
        assert watch.wait() == 0


def test_killed_producer_is_shown_within_seconds_on_the_channel_of_operations() -> None:
    with Hub() as hub, Watched("operations", "--url", hub.url) as watch:
        watch.see_text("● live")
        options = ("--name", "doomed", "--lease", "60s", "--url", hub.url)
        with Process("run", *options, "--", "sh", "-c", "echo $$; exec sleep 60") as run:
            child = int(run.read_line())
            watch.see_text("doomed")
            run.signal(signal.SIGKILL)
            os.kill(child, signal.SIGKILL)
            picture = watch.see_text("producer away for")
        [row] = [line for line in picture if "doomed" in line]
        assert int(row.partition("away for ")[2].split()[0]) <= 20


def test_exit_when_done_ends_on_an_empty_hub_and_with_wait_after_the_first(shared_hub: Hub) -> None:
    arguments = ("watch", "operations/later-*", "--exit-when-done", "--url", shared_hub.url)
    assert tidings(*arguments).returncode == 0
    publish(shared_hub, fail("later-0"))
    assert tidings(*arguments).returncode == 0, "it failed before"
    with Watched(*arguments[1:], "--wait") as watch:
        watch.see_text("waiting for the first operation")
        publish(shared_hub, begin("later-1"))
        watch.see_text("1 running")
        publish(shared_hub, fail("later-1"))
        assert watch.wait() == 1
    with Process(*arguments, "--wait") as piped:
        assert piped.process.stderr is not None
        ready, _, _ = select.select([piped.process.stderr], [], [], TIMEOUT_S)
        assert ready
        assert piped.process.stderr.readline() == b"tidings: no operation runs yet; waiting for the first\n"
        publish(shared_hub, begin("later-2"), ("operation:complete", {"operation_id": "later-2"}))
        assert piped.wait()[0] == 0


def test_named_operation_that_failed_already_decides_the_exit_code(shared_hub: Hub) -> None:
    publish(shared_hub, begin("gone"), fail("gone"))
    assert tidings("watch", "operations/gone", "--exit-when-done", "--url", shared_hub.url).returncode == 1


def test_timeout_ends_the_watch_with_its_own_code(shared_hub: Hub) -> None:
    done = tidings("watch", "operations/none", "--timeout", "200ms", "--url", shared_hub.url)
    assert (done.returncode, done.stderr) == (124, "error: timed out after 200ms\n")


def test_filters_hold_for_every_form(shared_hub: Hub) -> None:
    publish(shared_hub, begin("f-1", name="import prices"), begin("f-2", name="backup"), fail("f-1"), fail("f-2"))
    arguments = ("operations/f-*", "--name", "import*", "--exit-when-done", "--url", shared_hub.url)
    lines = tidings("watch", *arguments).stdout.splitlines()
    assert [line[9:].split()[:4] for line in lines] == [
        ["▶", "import", "prices", "started"],
        ["✘", "import", "prices", "failed"],
    ]
    envelopes = tidings("watch", *arguments, "--json", "--failed").stdout.splitlines()
    assert [json.loads(line)["type"] for line in envelopes] == ["operation:failed", "channel:live"]
