import io
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import redirect_stdout
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager
from tests.client.hub_server import TIMEOUT_S
from tests.producer.reported import Reported, until
from traitlets import Bool
from traitlets.config import Config

import tidings
from tidings.integrations.jupyter import bundle_of, html, plain, show

Message = dict[str, Any]


class Shown(HTMLParser):
    """HTML as a browser reads it: its text, the attributes of its progress bar, and whether its elements are closed."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.bar: dict[str, str | None] = {}
        self.open: list[str] = []
        self.feed(source)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        if ("role", "progressbar") in attributes:
            self.bar = dict(attributes)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_display_shows_state_progress_and_message(reported: Reported) -> None:
    with tidings.operation("Import <prices>", steps=["fetch", "parse"]) as op:
        assert plain(op) == "Import <prices>: running, 0 %, 0 s"
        with op.step("fetch"), op.step("parse"):
            op.progress(42, "half & half")
            shown = Shown(html(op))
            assert plain(op) == "Import <prices>: running, 42 %, parse, half & half, 0 s"
    assert shown.texts == ["Import <prices>", "running, 42 %", "parse · half & half · 0 s", f"trace {op.trace_id}"]
    assert shown.bar["aria-valuenow"] == "42"
    assert shown.bar["aria-label"] == "Import <prices>"
    assert plain(op).startswith("Import <prices>: complete, 100 %")


def test_display_without_known_progress_shows_no_value(reported: Reported) -> None:
    with tidings.operation("Wait") as op:
        assert plain(op) == "Wait: running, 0 s"
        assert "aria-valuenow" not in Shown(html(op)).bar
        op.cancel("enough")
    assert plain(op) == "Wait: cancelled, enough, 0 s"
    failed = tidings.start("Fail")
    failed.fail(LookupError("no such year"))
    assert plain(failed) == "Fail: failed, no such year, 0 s"
    assert plain(tidings.operation("New")) == "New: new, 0 s"


def test_display_shows_long_durations_in_minutes(reported: Reported, monkeypatch: pytest.MonkeyPatch) -> None:
    with tidings.operation("Wait") as op:
        for seconds, duration in ((59.9, "59 s"), (61, "1 min 01 s"), (7_384, "2 h 03 min")):
            monkeypatch.setattr(tidings.Operation, "duration_s", seconds)
            assert plain(op) == f"Wait: running, {duration}"


def test_show_without_a_shell_prints_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TIDINGS_DISABLED", "1")  # a hub in this process may print lines of its own
    with tidings.operation("Wait") as op:
        show(op)
    assert capsys.readouterr().out == "Wait: running, 0 s\n"


def test_repr_html_returns_the_display(reported: Reported) -> None:
    with tidings.operation("Import") as op:
        assert op._repr_html_() == html(op)


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A shell without the profile of the developer; untyped, as IPython is."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    config = Config()
    config.HistoryManager.enabled = False
    yield InteractiveShell.instance(config=config)
    InteractiveShell.clear_instance()


def test_shell_displays_the_operation(reported: Reported, shell: Any) -> None:
    with capture_output() as captured:
        assert shell.run_cell("import tidings; op = tidings.start('Import', total=4); op.advance(); op").success
    assert [output.data for output in captured.outputs] == [bundle_of(shell.user_ns["op"])]
    assert captured.outputs[0].data["text/plain"] == "Import: running, 25 %, 1/4 it, 0 s"
    shell.user_ns["op"].complete()


def test_shell_without_a_kernel_displays_once(reported: Reported, shell: Any) -> None:
    out = io.StringIO()
    with redirect_stdout(out):
        shell.run_cell("import tidings; op = tidings.start('Import', quiet=True); op")
        shell.run_cell("op.progress(50)")
        shell.run_cell("op.complete()")
    assert out.getvalue().count("Import: running") == 1
    assert not any(thread.name == "tidings display" for thread in threading.enumerate())


class Screen(CapturingDisplayPublisher):
    """The output of a front end, which may go away."""

    gone = Bool(False)
    entered, free = threading.Event(), threading.Event()
    """Set when an update begins, and when it may end."""

    def publish(self, *arguments: Any, **options: Any) -> None:
        if options.get("update"):
            self.entered.set()
            self.free.wait(TIMEOUT_S)
        if self.gone:
            raise OSError("the front end is gone")
        super().publish(*arguments, **options)  # type: ignore[no-untyped-call]

    def texts(self, *, update: bool) -> list[str]:
        return [output["data"]["text/plain"] for output in self.outputs if output["update"] is update]


@pytest.fixture
def screen(shell: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Screen]:
    """The screen of a shell in this process that behaves like the one of a kernel."""
    monkeypatch.setattr("tidings.producer.notebook._REFRESH_INTERVAL_S", 0.01)
    shell.kernel = object()
    shell.display_pub = screen = Screen()  # type: ignore[no-untyped-call]
    screen.free.set()
    yield screen
    until(lambda: not any(thread.name == "tidings display" for thread in threading.enumerate()))


def test_only_the_newest_displays_are_updated(reported: Reported, shell: Any, screen: Screen) -> None:
    op = tidings.start("Import", total=4)
    shell.user_ns["op"] = op
    shell.run_cell("for _ in range(40): display(op)")
    shell.run_cell("op.complete()")
    assert len(screen.texts(update=False)) == 40
    ends = [text for text in screen.texts(update=True) if "complete" in text]
    assert len(ends) == 32


def test_display_is_updated_while_no_cell_runs(reported: Reported, shell: Any, screen: Screen) -> None:
    op = tidings.start("Import", total=4)
    shell.user_ns["op"] = op
    shell.run_cell("op")
    op.advance(3)
    until(lambda: any("75 %" in text for text in screen.texts(update=True)))
    op.complete()
    until(lambda: any("complete" in text for text in screen.texts(update=True)))


def test_lost_front_end_ends_the_updates(reported: Reported, shell: Any, screen: Screen) -> None:
    op = tidings.start("Import", total=4)
    shell.user_ns["op"] = op
    shell.run_cell("op")
    screen.gone = True
    op.advance()
    until(lambda: not any(thread.name == "tidings display" for thread in threading.enumerate()))
    assert op.state == "running"
    op.complete()


def test_child_forked_during_an_update_shows_its_own_operations(reported: Reported, shell: Any, screen: Screen) -> None:
    op = tidings.start("Import", total=4)
    shell.user_ns["op"] = op
    screen.entered.clear()
    screen.free.clear()
    shell.run_cell("op")
    op.advance()
    assert screen.entered.wait(TIMEOUT_S)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12 and later, about threads
        child = os.fork()
    if not child:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends a child that hangs
        signal.setitimer(signal.ITIMER_REAL, TIMEOUT_S / 2)
        screen.free.set()
        shell.events.trigger("post_run_cell", None)
        os._exit(len(screen.texts(update=True)))
    screen.free.set()
    _, status = os.waitpid(child, 0)
    op.complete()
    assert status == 0


class Kernel:
    """A real kernel, and its displays."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self.manager = manager
        self._client = client
        self.shown: dict[str, list[str]] = {}
        """The states of each display, as text."""

    def begin(self, code: str) -> str:
        """Run a cell, without waiting for its end."""
        id: str = self._client.execute(code)
        return id

    def read(self) -> Message:
        """Return the next message of the kernel, and record its display."""
        message: Message = self._client.get_iopub_msg(timeout=TIMEOUT_S)
        kind, content = message["header"]["msg_type"], message["content"]
        assert kind != "error", content
        if kind in ("display_data", "update_display_data"):
            states = self.shown.setdefault(content["transient"]["display_id"], [])
            assert bool(states) == (kind == "update_display_data")
            states.append(content["data"]["text/plain"])
        return message

    def read_until_shown(self, text: str) -> None:
        while not any(text in states[-1] for states in self.shown.values()):
            self.read()

    def run(self, code: str) -> None:
        """Run a cell to its end."""
        cell = self.begin(code)
        while True:
            message = self.read()
            if message["parent_header"].get("msg_id") == cell and message["content"].get("execution_state") == "idle":
                return


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    manager = KernelManager(kernel_name="python3")
    folder = tmp_path_factory.mktemp("kernel")
    manager.start_kernel(
        extra_arguments=["--HistoryManager.enabled=False"],
        cwd=str(folder),
        env={**os.environ, "IPYTHONDIR": str(folder)},
    )
    client = manager.blocking_client()
    try:
        client.start_channels()
        client.wait_for_ready(timeout=TIMEOUT_S * 3)
        yield Kernel(manager, client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


def connect(kernel: Kernel, reported: Reported, spool: Path) -> None:
    kernel.shown.clear()
    kernel.run(
        "import os, pathlib, time, tidings\n"
        f"os.environ['TIDINGS_URL'], os.environ['TIDINGS_SPOOL'] = {reported.hub.url!r}, {str(spool)!r}"
    )


def test_notebook_updates_the_display_across_cells(reported: Reported, kernel: Kernel, tmp_path: Path) -> None:
    connect(kernel, reported, tmp_path / "spool")
    kernel.run("op = tidings.start('Import', total=4)\nop")
    kernel.run("op.advance(2)")
    kernel.run("op.complete()")
    (states,) = kernel.shown.values()
    assert states[0].startswith("Import: running, 0 %")
    assert any("50 %" in state for state in states)
    assert states[-1].startswith("Import: complete, 100 %")
    kernel.run("from tidings.producer.runtime import RUNTIME; assert RUNTIME.flush(10) == 0")
    assert reported.kinds() == ["start", "complete"]


def test_notebook_updates_the_display_while_a_cell_runs(reported: Reported, kernel: Kernel, tmp_path: Path) -> None:
    connect(kernel, reported, tmp_path / "spool")
    go_on = tmp_path / "go-on"
    kernel.begin(
        "with tidings.operation('Export', total=4) as op:\n"
        "    display(op); display(op)\n"
        "    op.advance(3)\n"
        f"    while not pathlib.Path({str(go_on)!r}).exists(): time.sleep(0.01)\n"
    )
    kernel.read_until_shown("75 %")
    go_on.touch()
    kernel.read_until_shown("complete")
    kernel.run("print('done')")
    assert [states[-1].split(",")[0] for states in kernel.shown.values()] == ["Export: complete"] * 2


def test_displays_of_ended_operations_need_no_thread(reported: Reported, kernel: Kernel, tmp_path: Path) -> None:
    connect(kernel, reported, tmp_path / "spool")
    kernel.run("op = tidings.start('Short')\nop")
    kernel.run("op.complete()")
    kernel.run(
        "import threading\n"
        "for thread in threading.enumerate():\n"
        "    if thread.name == 'tidings display': thread.join(60)\n"
        "assert not any(thread.name == 'tidings display' for thread in threading.enumerate())\n"
        "assert op.id is not None\nop"
    )
    assert len(kernel.shown) == 2
