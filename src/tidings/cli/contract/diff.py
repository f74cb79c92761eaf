"""The command `tidings contract diff`: lists the changes between two contracts, as text or JSON."""

from collections.abc import Iterator
from enum import StrEnum
from itertools import groupby
from typing import Annotated, Any

import msgspec
import typer

from tidings.cli.contract.sources import STDIN, find_document
from tidings.cli.errors import FAILED, USAGE, print_error
from tidings.cli.text import join_lines
from tidings.contract.diff.compare import ContractDocument, diff_documents
from tidings.contract.diff.rules import Change, Compatibility, ContractDiff, Effect
from tidings.exceptions import ConfigError, TidingsError


class BrokenSide(StrEnum):
    """The side on which a breaking change counts."""

    READERS = "readers"
    WRITERS = "writers"
    ANY = "any"


def diff(
    old: Annotated[
        str,
        typer.Argument(
            metavar="OLD",
            help="Old contract: module:attribute, a .json or .toml file, the URL of a hub, or - for stdin.",
        ),
    ],
    new: Annotated[str, typer.Argument(metavar="NEW", help="New contract, in the same forms.")],
    breaking_for: Annotated[
        BrokenSide,
        typer.Option(
            "--breaking-for",
            metavar="|".join(BrokenSide),
            help="Side on which a breaking change makes the exit code 1.",
        ),
    ] = BrokenSide.ANY,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List the changes between two contracts, and whether each breaks old readers of new events, or old writers.

    Exit codes: 0: no breaking change; 1: a breaking change; 2: the contracts cannot be compared.
    """
    try:
        if old == new == STDIN:
            raise ConfigError(
                "only one contract can be read from stdin", option="NEW", hint="Pass a file for the other."
            )
        before, after = find_document(old), find_document(new)
        found = diff_documents(before, after)
    except TidingsError as error:
        # Never 1, which a build reads as a breaking change.
        print_error(error)
        raise typer.Exit(USAGE) from error
    typer.echo(format_json(found, before, after) if as_json else format_text(found), nl=False)
    if found.breaking(breaking_for.value):
        raise typer.Exit(FAILED)


_HEADINGS = {
    Compatibility.BREAKING: "Breaking",
    Compatibility.COMPATIBLE: "Compatible",
    Compatibility.ANNOTATION: "For people only",
}
_MAX_VALUE_CHARACTERS = 60


def format_json(found: ContractDiff, old: ContractDocument, new: ContractDocument) -> str:
    """Return a difference as one JSON object."""
    report = {
        "old": {"version": old.version, "hash": old.hash},
        "new": {"version": new.version, "hash": new.hash},
        **{str(verdict): found.count(verdict) for verdict in Compatibility},
        "breaks": {"readers": len(found.breaking("readers")), "writers": len(found.breaking("writers"))},
        "changes": [_row(change) for change in found.changes],
    }
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode() + "\n"


def _row(change: Change) -> dict[str, Any]:
    return {
        "event": change.event or None,
        "path": change.path,
        "verdict": change.verdict,
        "rule": change.rule.id,
        "sentence": change.rule.sentence,
        "readers": change.readers,
        "writers": change.writers,
        "before": change.before,
        "after": change.after,
    }


def format_text(found: ContractDiff) -> str:
    """Return a difference as lines: breaking changes first, the changes of each event together."""
    if not found.changes:
        return "No difference.\n"
    return join_lines([*_lines(found), summary(found)])


def summary(found: ContractDiff) -> str:
    """Return the counts as one line."""
    breaking = found.breaking()
    readers, writers = len(found.breaking("readers")), len(found.breaking("writers"))
    sides = f" ({readers} for readers, {writers} for writers)" if breaking else ""
    notes = found.count(Compatibility.ANNOTATION)
    return (
        f"{len(breaking)} breaking{sides}, {found.count(Compatibility.COMPATIBLE)} compatible, {notes} for people only"
    )


def _lines(found: ContractDiff) -> Iterator[str]:
    for verdict, heading in _HEADINGS.items():
        changes = [change for change in found.changes if change.verdict is verdict]
        if not changes:
            continue
        yield f"{heading}:"
        for event, of_event in groupby(changes, key=lambda change: change.event):
            yield f"  {event or 'the contract'}"
            for change in of_event:
                yield from _of(change)
        yield ""


def _of(change: Change) -> Iterator[str]:
    values = _values(change)
    where = f"{change.path}: " if change.path else ""
    yield f"    {where}{change.rule.sentence}{values}  [{change.rule.id}]"
    if change.verdict is not Compatibility.ANNOTATION:
        yield f"      readers {_effect(change.readers)}"
        yield f"      writers {_effect(change.writers)}"


def _effect(effect: Effect) -> str:
    return f"{'BREAK' if effect.verdict is Compatibility.BREAKING else 'fit'}: {effect.because}"


def _values(change: Change) -> str:
    if change.before is None and change.after is None:
        return ""
    if change.before is None:
        return f" ({_value(change.after)})"
    if change.after is None:
        return f" (was {_value(change.before)})"
    return f" ({_value(change.before)} → {_value(change.after)})"


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= _MAX_VALUE_CHARACTERS else f"{text[: _MAX_VALUE_CHARACTERS - 1]}…"
