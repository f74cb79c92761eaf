"""Draws docs/watch.svg: the output of `tidings watch` during a real run.

    python -m docs.draw_watch             draw from the recorded events
    python -m docs.draw_watch --record    record again: a hub, and three commands under `tidings run`

The command's own view draws the picture from events that a hub delivered; only the clock is set, to the moment of the
last event shown. A test draws it again and compares.
"""

import contextlib
import inspect
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.terminal_theme import TerminalTheme

from tidings.cli.watch.state import seconds
from tidings.cli.watch.view import ConnectionState, WatchView
from tidings.client.events import ReceivedEvent
from tidings.contract.contract import Contract

HERE = Path(__file__).parent
EVENTS = HERE / "watch.events.ndjson"
PICTURE = HERE / "watch.svg"
COLUMNS, LINES = 96, 12
URL = "ws://127.0.0.1:8765/ws"

TITLE = "tidings watch"
LED = "pytest"
"""The operation whose progress decides which moment is drawn."""
SHARE = 60.0
"""Progress of that operation at this moment, in percent."""
COMMANDS: Sequence[tuple[str, Sequence[str]]] = (
    ("ruff check", ("ruff", "check", "src/tidings/contract")),
    ("pytest tests/contract", ("pytest", "-p", "no:randomly", "tests/contract")),
    ("mypy src", ("mypy", "--no-incremental", "src")),
)
"""The commands to run for the picture, each with its name."""

_PAPER, _INK = (22, 24, 29), (214, 217, 224)
_ANSI = [
    (60, 64, 72),
    (235, 111, 121),
    (121, 201, 135),
    (230, 190, 110),
    (112, 165, 240),
    (200, 140, 230),
    (95, 200, 205),
    _INK,
]
_THEME = TerminalTheme(_PAPER, _INK, _ANSI)


def read_events(lines: Iterable[str]) -> Iterator[ReceivedEvent]:
    """Yield the events of `tidings.v1` envelopes, one per line, as a client receives them; skip notices."""
    contract = Contract()
    for line in lines:
        envelope = msgspec.json.decode(line)
        row = contract.events.get(envelope["type"])
        if row is not None:
            data = msgspec.json.encode(envelope["data"])
            payload = contract.decode(row.type, data)
            yield ReceivedEvent(
                type=row.type,
                timestamp=envelope["timestamp"],
                trace_id=envelope["trace_id"],
                channel=envelope["channel"],
                key=getattr(payload, "operation_id", None),
                payload=payload,
                data=data,
                position=envelope["position"],
            )


def cut_at_the_moment(events: Iterable[ReceivedEvent]) -> list[ReceivedEvent]:
    """Return the events up to the one that brings the leading operation nearest to `SHARE`.

    Raises:
        ValueError: The leading operation made no progress.
    """
    known = list(events)
    led = {
        event.key for event in known if event.type == "operation:start" and LED in getattr(event.payload, "name", "")
    }
    shares = [
        (abs(getattr(event.payload, "progress", 0.0) - SHARE), number)
        for number, event in enumerate(known)
        if event.type == "operation:progress" and event.key in led
    ]
    if not shares:
        raise ValueError(f"no operation named {LED!r} made progress")
    return known[: min(shares)[1] + 1]


def draw(events: Sequence[ReceivedEvent]) -> tuple[str, str]:
    """Return the picture after `events`, as SVG and as the text in it."""
    console = Console(
        width=COLUMNS, height=LINES, record=True, file=io.StringIO(), force_terminal=True, color_system="truecolor",
        legacy_windows=False, _environ={},
    )  # fmt: skip
    view = WatchView(zone=UTC)
    for event in events:
        line = view.apply(event, seconds(event))
        if line is not None:
            console.print(line)
    console.print(view.render(ConnectionState(URL, "live"), seconds(events[-1]), COLUMNS, LINES))
    text = console.export_text(clear=False)
    return _without_fonts(console.export_svg(title=TITLE, theme=_THEME, unique_id="watch", code_format=_FORMAT)), text


# A picture in a README must not fetch anything; every machine has its own monospaced font.
_FORMAT = re.sub(
    r"@font-face \{\{.*?\}\}\s*",
    "",
    inspect.signature(Console.export_svg).parameters["code_format"].default,
    flags=re.DOTALL,
)


def _without_fonts(svg: str) -> str:
    return svg.replace("font-family: Fira Code, monospace", "font-family: ui-monospace, Menlo, Consolas, monospace")


# Recording.


def record(commands: Sequence[tuple[str, Sequence[str]]] = COMMANDS) -> list[str]:
    """Run commands in parallel under their own hub, and return the lines that a watcher received."""
    with _hub() as url:
        watch = _start("watch", "operations", "--json", "--since", "first", "--url", url, stdout=subprocess.PIPE)
        runs = [_start("run", "--url", url, "--name", name, "--", *_found(command)) for name, command in commands]
        for run in runs:
            run.wait(timeout=300)
        assert watch.stdout is not None
        lines, ended = [], 0
        while ended < len(commands):
            lines.append(watch.stdout.readline().decode())
            ended += lines[-1].startswith(('{"type":"operation:complete"', '{"type":"operation:failed"'))
        watch.send_signal(signal.SIGINT)
        watch.communicate(timeout=20)
    return [_anonymous(line) for line in lines if line.startswith('{"type":"operation:')]


def _found(command: Sequence[str]) -> Sequence[str]:
    return [str(Path(sys.executable).with_name(command[0])), *command[1:]]


def _anonymous(line: str) -> str:
    """Return an envelope without the facts of the machine that recorded it; the picture shows none of them."""
    envelope: dict[str, Any] = json.loads(line)
    data = envelope["data"]
    for name, value in (("host", "laptop"), ("user", "ada"), ("pid", 4242)):
        if name in data:
            data[name] = value
    text = json.dumps(envelope, ensure_ascii=False, separators=(",", ":"))
    for place, name in ((f"{Path(sys.executable).parent}{os.sep}", ""), (str(HERE.parent), "~/tidings")):
        text = text.replace(place, name)
    return f"{text}\n"


def _start(*arguments: str, stdout: int = subprocess.DEVNULL) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "tidings", *arguments]
    return subprocess.Popen(command, stdout=stdout, stderr=subprocess.DEVNULL, cwd=HERE.parent)


@contextlib.contextmanager
def _hub() -> Iterator[str]:
    hub = _start("serve", "--memory", "--port", "0", stdout=subprocess.PIPE)
    try:
        assert hub.stdout is not None
        yield hub.stdout.readline().decode().split()[0]
    finally:
        hub.terminate()
        hub.communicate(timeout=20)


def main() -> None:
    """Draw the picture; with `--record`, record the events first."""
    if "--record" in sys.argv[1:]:
        EVENTS.write_text("".join(record()))
    began = time.perf_counter()
    with EVENTS.open() as lines:
        svg, text = draw(cut_at_the_moment(read_events(lines)))
    PICTURE.write_text(svg)
    sys.stdout.write(f"{text}\n{PICTURE.name}: {len(svg)} bytes, drawn in {time.perf_counter() - began:.2f} s\n")


if __name__ == "__main__":
    main()
