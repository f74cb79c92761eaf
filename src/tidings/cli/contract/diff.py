"""The command `tidings contract diff`."""

from enum import StrEnum
from typing import Annotated

import typer

from tidings.cli.failure import FAILED, USAGE, show_failure
from tidings.exceptions import ConfigError, TidingsError


class BrokenSide(StrEnum):
    """Whose breaking counts."""

    READERS = "readers"
    WRITERS = "writers"
    ANY = "any"


def diff(
    old: Annotated[
        str,
        typer.Argument(metavar="OLD", help="module:attribute, a .json or .toml file, a hub's URL, or - for stdin."),
    ],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Likewise.")],
    breaking_for: Annotated[
        BrokenSide, typer.Option("--breaking-for", help="Whose breaking makes the exit code 1.")
    ] = BrokenSide.ANY,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what changed between two contracts, and whether it breaks old readers of new events, or old writers.

    Exit codes: 0: nothing breaks; 1: something does; 2: there is nothing to compare.
    """
    from tidings.cli.contract import diff_report
    from tidings.cli.contract.sources import STDIN, find_document
    from tidings.contract.diff.compare import diff_documents

    try:
        if old == new == STDIN:
            raise ConfigError("both contracts cannot come through stdin", option="NEW", hint="Name a file for one.")
        before, after = find_document(old), find_document(new)
        found = diff_documents(before, after)
    except TidingsError as error:
        # Not 1, whatever it is: to a build, that says that something breaks.
        show_failure(error)
        raise typer.Exit(USAGE) from error
    typer.echo(diff_report.as_json(found, before, after) if as_json else diff_report.as_text(found), nl=False)
    if found.breaking(breaking_for.value):
        raise typer.Exit(FAILED)
