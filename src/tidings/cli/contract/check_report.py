"""What recorded traffic does to a contract, for reading and as JSON."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from tidings.cli.contract.printable import printable
from tidings.contract.traffic import NO_ENVELOPE, Finding, TrafficCheck

_NO_ENVELOPE = "no envelope"


def as_json(check: TrafficCheck, *, recording: str, interrupted: bool, cut_off: bool) -> str:
    """Return a check's findings as one JSON object."""
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
    report["untold"] = check.untold
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode() + "\n"


def _row(found: Finding, check: TrafficCheck) -> dict[str, Any]:
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


def as_text(check: TrafficCheck, *, recording: str) -> str:
    """Return a check's findings as lines."""
    return printable(_lines(check, recording))


def _lines(check: TrafficCheck, recording: str) -> Iterator[str]:
    others = check.messages
    said = "message that is no event" if others == 1 else "messages that are no events"
    passed_over = f", and {others:,} {said}" if others else ""
    yield f"{recording}: {_times(check.events, 'event')} of {_times(len(check.by_type), 'type')}{passed_over}."
    yield from _refused(check)
    if check.untold:
        yield f"  and {_times(check.untold, 'fault')} of other kinds"
    if check.deprecated:
        yield ""
        yield "Deprecated:"
        for found in _ordered(check.deprecated.values()):
            yield f"  {found.type}: {_times(found.count, 'time')}, first at {found.first}. {found.hint}"
    yield ""
    if check.accepted_now:
        yield f"{check.accepted_now:,} that the old contract refuses would be taken."
    if check.undeclared:
        yield f"{check.undeclared:,} of undeclared types are taken, because the contract is lenient."
    yield _verdict(check)


def _verdict(check: TrafficCheck) -> str:
    if not check.refused:
        return "Nothing would be refused."
    share = f"{check.refused:,} of {check.events:,} would be refused ({_share(check.refused, check.events)})"
    if check.old is None:
        return f"{share}."
    return f"{share}; the old contract refuses {check.refused_before:,} of them, too: {check.newly_refused:,} are new."


def _refused(check: TrafficCheck) -> Iterator[str]:
    by_type: dict[str, list[Finding]] = {}
    for found in _ordered(check.findings.values()):
        by_type.setdefault(found.type, []).append(found)
    if by_type:
        yield ""
        yield "Refused:"
    for type, findings in by_type.items():
        count = (
            "" if type == NO_ENVELOPE else f", {_times(check.by_type[type], 'event')}" if check.by_type[type] else ""
        )
        yield f"  {type[:80] or _NO_ENVELOPE}{count}"
        for found in findings:
            old = f", {found.before:,} of them before, too" if found.before else ""
            yield f"    {found.path}: {_times(found.count, 'time')}{old}  [{found.code}]"
            yield f"      {found.message} (first at {found.first})"
            if found.hint:
                yield f"      {found.hint}"


def _ordered(findings: Iterable[Finding]) -> list[Finding]:
    """Return the most frequent first; of equals, in the order in which they were met."""
    return sorted(findings, key=lambda found: -found.count)


def _times(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _share(part: int, whole: int) -> str:
    percent = 100 * part / whole
    return f"{percent:.1f} %" if percent >= 0.1 else "under 0.1 %"
