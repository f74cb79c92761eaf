"""The command `tidings record`: runs one recording, and reports its statistics."""

import asyncio
from typing import Annotated

import typer

from tidings.cli.errors import FAILED, print_stderr
from tidings.cli.options import UrlOption, parse_duration_option, parse_since_option
from tidings.cli.record.output_file import STDOUT, Sink, SinkFailed, open_sink
from tidings.cli.record.recorder import PlainRecording, Recorder, RecordRequest, record_v1
from tidings.cli.signals import stop_signals
from tidings.cli.status_line import StatusLine
from tidings.cli.units import clock_time, describe_size
from tidings.client.options import LinkOptions
from tidings.client.url import resolve_hub_url
from tidings.protocol.paths import check_paths
from tidings.protocol.positions import SNAPSHOT

_MAX_DURATION_S = 365 * 86_400.0


def record(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH",
            help="Paths: operations, operations/op-42, operations/acme.*, … Default: everything.",
            show_default=False,
        ),
    ] = None,
    url: UrlOption = None,
    output: Annotated[
        str,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Output file, compressed if it ends with .gz; - is stdout."
        ),
    ] = "-",
    since: Annotated[
        str | None,
        typer.Option(
            metavar="SINCE",
            help="Where to start: snapshot, now, first, a position, an age such as 6h, or an RFC 3339 time. "
            "Default: snapshot.",
            show_default=False,
        ),
    ] = None,
    duration: Annotated[
        str | None,
        typer.Option(
            "--for", metavar="TIME", help="Duration of the recording. Default: until Ctrl-C.", show_default=False
        ),
    ] = None,
    plain: Annotated[
        bool,
        typer.Option("--plain", help="Connect without tidings.v1, as a browser or another service does."),
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for a hub that is not reachable yet.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Record a connection to a file: one envelope per line, with its time of receipt.

    Ctrl-C ends the recording with exit code 0. `tidings replay` plays it.
    """
    for_s = None if duration is None else parse_duration_option("for", duration, 0.0, _MAX_DURATION_S)
    if since is None:
        since = "" if plain else SNAPSHOT  # other services may not support the parameter
    if paths and not plain:
        check_paths(paths)
    request = RecordRequest(
        url=resolve_hub_url(url),
        link=LinkOptions(wait_for_hub=wait),
        paths=tuple(paths or ()),
        since=parse_since_option(since) if since else since,
        plain=plain,
    )
    sink = open_sink(output, force=force)
    if not asyncio.run(_record(request, sink, output, for_s)):
        raise typer.Exit(FAILED)


async def _record(request: RecordRequest, sink: Sink, output: str, for_s: float | None) -> bool:
    loop = asyncio.get_running_loop()
    began = loop.time()
    line = StatusLine(lambda: format_status(recorder, output, loop.time() - began))
    recorder = Recorder(request, sink, line.print)
    failure: SinkFailed | None = None
    begun = False
    try:
        with line, stop_signals() as stop:
            if for_s is not None:
                loop.call_later(for_s, stop.set)
            if request.plain:
                await PlainRecording(recorder).run(stop)
            else:
                await record_v1(recorder, stop)
        begun = True
    except SinkFailed as failed:
        failure = failed
    finally:
        try:
            sink.close()
        except SinkFailed as failed:
            failure = failure or failed
        if begun or failure is not None or sink.written:
            print_stderr(format_figures(recorder, output))
    if failure is not None and not failure.reader_gone:
        print_stderr(
            f"error: cannot write {output}: {failure}",
            f"hint: {sink.lines:,} whole lines are written. Free disk space, and record into another file.",
        )
        return False
    return True


def format_status(recorder: Recorder, output: str, elapsed_s: float) -> str:
    """Return the status line during a recording."""
    size = describe_size(recorder.sink.written)
    where = "stdout" if output == STDOUT else output
    return f"{where}  {clock_time(elapsed_s)}  {_count(recorder)}, {size}  {recorder.state}  (Ctrl-C stops)"


def format_figures(recorder: Recorder, output: str) -> str:
    """Return the line that is printed at the end."""
    where = "" if output == STDOUT else f" in {output}, {describe_size(recorder.sink.written)}"
    return f"{_count(recorder)}{where}"


def _count(recorder: Recorder) -> str:
    parts = [f"{recorder.events:,} {'event' if recorder.events == 1 else 'events'}"]
    if recorder.gaps:
        parts.append(f"{recorder.gaps:,} {'gap' if recorder.gaps == 1 else 'gaps'}")
    if recorder.invalid:
        parts.append(f"{recorder.invalid:,} invalid {'envelope' if recorder.invalid == 1 else 'envelopes'}")
    return ", ".join(parts)
