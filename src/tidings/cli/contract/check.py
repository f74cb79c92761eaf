"""The command `tidings contract check`: checks recorded traffic against a contract."""

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Annotated, Any

import msgspec
import typer

from tidings.cli.contract.sources import find_contract, is_url
from tidings.cli.errors import FAILED, INTERRUPTED, USAGE, print_error, print_stderr
from tidings.cli.recordings import HEADER_TYPE, Traffic, open_traffic
from tidings.cli.status_line import StatusLine
from tidings.cli.text import join_lines
from tidings.contract.contract import Contract
from tidings.contract.traffic_check import UNREADABLE, TrafficCheck, TrafficFinding
from tidings.exceptions import TidingsError


def check(
    recording: Annotated[
        str,
        typer.Argument(
            metavar="RECORDING",
            help="File of envelopes, one per line; - for stdin; or a hub's data folder, copy of its log, or URL.",
        ),
    ],
    contract: Annotated[
        str | None,
        typer.Option(
            "--contract",
            metavar="SPEC",
            envvar="TIDINGS_CONTRACT",
            help="module:attribute, a .json or .toml file, or the URL of a hub. Default: that of the checked hub, "
            "else the built-in contract.",
            show_default=False,
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="OLD", help="Old contract: count only what it accepts.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check recorded traffic against a contract: list what would be refused, where, and how often.

    Exit codes: 0: no refusals; 1: refusals, with --against new ones; 2: no traffic to check. Ctrl-C prints the results
    so far.
    """
    try:
        traffic_check = TrafficCheck(
            _chosen(contract, recording),
            None if against is None else _named(against),
            ignored_types=frozenset({HEADER_TYPE}),
        )
        opened = open_traffic(recording)
        interrupted = _run(traffic_check, opened)
    except TidingsError as error:
        print_error(error)
        raise typer.Exit(USAGE) from error
    _report(traffic_check, opened, interrupted=interrupted, as_json=as_json)
    if interrupted:
        raise typer.Exit(INTERRUPTED)
    if traffic_check.newly_refused:
        raise typer.Exit(FAILED)


def _chosen(spec: str | None, recording: str) -> Contract:
    if spec is not None:
        return _named(spec)
    return _named(recording) if is_url(recording) else Contract()


def _named(spec: str) -> Contract:
    return find_contract(spec)


def _run(check: TrafficCheck, recording: Traffic) -> bool:
    """Check every message; return whether Ctrl-C interrupted it."""
    with suppress(KeyboardInterrupt):
        with progress_line(check, recording):
            for message, place in recording.messages:
                if isinstance(message, bytes):
                    check.check_line(message, place)
                else:
                    check.check(message, place)
        return False
    return True


def _report(check: TrafficCheck, recording: Traffic, *, interrupted: bool, as_json: bool) -> None:

    if as_json:
        text = format_json(check, recording=recording.name, interrupted=interrupted, cut_off=recording.cut_off)
    else:
        text = format_text(check, recording=recording.name)
    typer.echo(text, nl=False)
    if interrupted:
        print_stderr(f"note: interrupted after {check.events:,} events: the rest was not checked")
    if recording.cut_off:
        print_stderr("note: the file is truncated: the program that wrote it was killed")


_NO_ENVELOPE = "no envelope"


def format_json(check: TrafficCheck, *, recording: str, interrupted: bool, cut_off: bool) -> str:
    """Return the findings of a check as one JSON object."""
    report: dict[str, Any] = {
        "recording": recording,
        "contract": {"version": check.contract.identity.version, "hash": check.contract.identity.hash},
        "complete": not (interrupted or cut_off),
        "events": check.events,
        "messages": check.messages,
        "refused": check.refused,
        "undeclared": check.undeclared,
    }
    if check.old is not None:
        report["against"] = {
            "version": check.old.identity.version,
            "hash": check.old.identity.hash,
            "refused_before": check.refused_before,
            "newly_refused": check.newly_refused,
            "accepted_now": check.accepted_now,
        }
    report["types"] = dict(sorted(check.by_type.items()))
    report["findings"] = [_row(each, check) for each in _ordered(check.findings.values())]
    report["deprecated"] = [
        {"type": each.type, "count": each.count, "first": each.first, "hint": each.hint}
        for each in _ordered(check.deprecated.values())
    ]
    report["untold"] = check.unlisted
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode() + "\n"


def _row(found: TrafficFinding, check: TrafficCheck) -> dict[str, Any]:
    row: dict[str, Any] = {
        "type": found.type or None,
        "path": found.path,
        "code": found.code,
        "count": found.count,
        "first": found.first,
        "message": found.message,
        "hint": found.hint,
    }
    if check.old is not None:
        row["refused_before"] = found.before
    return row


def format_text(check: TrafficCheck, *, recording: str) -> str:
    """Return the findings of a check as lines."""
    return join_lines(_lines(check, recording))


def _lines(check: TrafficCheck, recording: str) -> Iterator[str]:
    others = check.messages
    noun = "other message" if others == 1 else "other messages"
    passed_over = f", and {others:,} {noun}" if others else ""
    yield f"{recording}: {_times(check.events, 'event')} of {_times(len(check.by_type), 'type')}{passed_over}."
    yield from _refused(check)
    if check.unlisted:
        yield f"  and {_times(check.unlisted, 'fault')} of other kinds"
    if check.deprecated:
        yield ""
        yield "Deprecated:"
        for found in _ordered(check.deprecated.values()):
            yield f"  {found.type}: {_times(found.count, 'time')}, first at {found.first}. {found.hint}"
    yield ""
    if check.accepted_now:
        yield f"{check.accepted_now:,} that the old contract refuses would be accepted."
    if check.undeclared:
        yield f"{check.undeclared:,} of undeclared types are accepted, because the contract is lenient."
    yield _verdict(check)


def _verdict(check: TrafficCheck) -> str:
    if not check.refused:
        return "Nothing would be refused."
    share = f"{check.refused:,} of {check.events:,} would be refused ({_share(check.refused, check.events)})"
    if check.old is None:
        return f"{share}."
    return f"{share}; the old contract refuses {check.refused_before:,} of them, too: {check.newly_refused:,} are new."


def _refused(check: TrafficCheck) -> Iterator[str]:
    by_type: dict[str, list[TrafficFinding]] = {}
    for found in _ordered(check.findings.values()):
        by_type.setdefault(found.type, []).append(found)
    if by_type:
        yield ""
        yield "Refused:"
    for type, findings in by_type.items():
        count = "" if type == UNREADABLE else f", {_times(check.by_type[type], 'event')}" if check.by_type[type] else ""
        yield f"  {type[:80] or _NO_ENVELOPE}{count}"
        for found in findings:
            old = f", {found.before:,} of them before, too" if found.before else ""
            yield f"    {found.path}: {_times(found.count, 'time')}{old}  [{found.code}]"
            yield f"      {found.message} (first at {found.first})"
            if found.hint:
                yield f"      {found.hint}"


def _ordered(findings: Iterable[TrafficFinding]) -> list[TrafficFinding]:
    """Return findings by frequency, equal ones in the order of their first occurrence."""
    return sorted(findings, key=lambda found: -found.count)


def _times(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _share(part: int, whole: int) -> str:
    percent = 100 * part / whole
    return f"{percent:.1f} %" if percent >= 0.1 else "under 0.1 %"


def progress_line(check: TrafficCheck, recording: Traffic) -> StatusLine:
    """Return the status line with the progress of `check` in `recording`."""
    began = time.monotonic()
    return StatusLine(lambda: _status(check, recording, time.monotonic() - began))


def _status(check: TrafficCheck, recording: Traffic, elapsed_s: float) -> str:
    rate = f", {check.events / elapsed_s:,.0f}/s" if elapsed_s >= 1 else ""
    size = recording.size
    share = f"{min(100 * recording.consumed // size, 100)} %  " if size else ""
    return f"{recording.name}  {share}{check.events:,} events{rate}, {check.refused:,} refused  (Ctrl-C stops)"
