"""The command `tidings contract check`."""

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from tidings.cli.failure import FAILED, INTERRUPTED, USAGE, show_failure, write_lines
from tidings.exceptions import TidingsError

if TYPE_CHECKING:
    from tidings.cli.contract.recordings import Recording
    from tidings.contract.contract import Contract
    from tidings.contract.traffic import TrafficCheck

_HEADER = "tidings:recording"
"""The type of the first line that `tidings record` writes."""


def check(
    recording: Annotated[
        str,
        typer.Argument(
            metavar="RECORDING",
            help="A file of envelopes, one a line; - for stdin; a hub's data folder, a copy of its log, or its URL.",
        ),
    ],
    contract: Annotated[
        str | None,
        typer.Option(
            "--contract",
            metavar="SPEC",
            envvar="TIDINGS_CONTRACT",
            help="module:attribute, a .json or .toml file, or a hub's URL. Default: the hub's whose URL is checked, "
            "else what every hub speaks.",
            show_default=False,
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            "--against", metavar="OLD", help="What was spoken: only what it takes counts.", show_default=False
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Hold recorded traffic against a contract: say what would be refused, where, and how often.

    Exit codes: 0: nothing would be refused; 1: something would, with --against something that was not; 2: there is
    nothing to check. Ctrl-C prints what was found so far.
    """
    from tidings.cli.contract.recordings import open_recording
    from tidings.contract.traffic import TrafficCheck

    try:
        held = TrafficCheck(
            _chosen(contract, recording),
            None if against is None else _named(against),
            passed_over=frozenset({_HEADER}),
        )
        opened = open_recording(recording)
        interrupted = _run(held, opened)
    except TidingsError as error:
        show_failure(error)
        raise typer.Exit(USAGE) from error
    _report(held, opened, interrupted=interrupted, as_json=as_json)
    if interrupted:
        raise typer.Exit(INTERRUPTED)
    if held.newly_refused:
        raise typer.Exit(FAILED)


def _chosen(spec: str | None, recording: str) -> "Contract":
    from tidings.cli.contract.sources import is_url
    from tidings.contract.contract import Contract

    if spec is not None:
        return _named(spec)
    return _named(recording) if is_url(recording) else Contract()


def _named(spec: str) -> "Contract":
    from tidings.cli.contract.sources import find_contract

    return find_contract(spec)


def _run(check: "TrafficCheck", recording: "Recording") -> bool:
    """Check every message; return whether Ctrl-C came first."""
    from tidings.cli.contract.check_progress import progress_line

    with suppress(KeyboardInterrupt):
        with progress_line(check, recording):
            for message, place in recording.items:
                if isinstance(message, bytes):
                    check.take_line(message, place)
                else:
                    check.take(message, place)
        return False
    return True


def _report(check: "TrafficCheck", recording: "Recording", *, interrupted: bool, as_json: bool) -> None:
    from tidings.cli.contract import check_report

    if as_json:
        text = check_report.as_json(check, recording=recording.name, interrupted=interrupted, cut_off=recording.cut_off)
    else:
        text = check_report.as_text(check, recording=recording.name)
    typer.echo(text, nl=False)
    if interrupted:
        write_lines(f"note: interrupted after {check.events:,} events: the rest was not checked")
    if recording.cut_off:
        write_lines("note: the file is cut off: whatever wrote it did not end in order")
