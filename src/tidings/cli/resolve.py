"""Ids as people write them: a whole id, a unique beginning of one, a name (its newest run), or `--last`."""

import re
import time
from itertools import islice
from typing import Annotated

import typer

from tidings.cli.short_ids import shorten_ids
from tidings.cli.summary import age_s, format_ago
from tidings.cli.text import sanitize
from tidings.client.http import HTTPClient
from tidings.exceptions import ConfigError, OperationUnknown
from tidings.operations.views import OperationSummary

_MAX_CANDIDATES = 1_000
"""Operations that are examined for one text."""
_MAX_LISTED = 10
"""Operations that an error about an ambiguous text lists."""
_MACHINE_MADE = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")

_HELP = "The operation: its id, a unique beginning of it, or a name (its newest run)."
OperationArgument = Annotated[str | None, typer.Argument(metavar="ID", help=_HELP, show_default=False)]
LastOption = Annotated[bool, typer.Option("--last", help="The operation that began last.")]


def resolve_id(client: HTTPClient, id: str | None, *, last: bool = False, acts: bool = False) -> str:
    """Return the id of the operation that a person means; an unknown text is returned as it is.

    Args:
        client: HTTP client of the hub.
        id: Text that names the operation.
        last: Whether the operation that began last is meant, in place of `id`.
        acts: Whether the command acts on the operation or reports its outcome. Then only a UUID may be shortened,
            because `op-1` may be an id that begins later; and a name means its only live run.

    Raises:
        ConfigError: There is neither an id nor `last`, or both; or the text names several operations.
        OperationUnknown: The hub has no operation yet, and `last` asks for one.
        HubUnreachable: No hub answers.
    """
    if id is None and not last:
        raise ConfigError("missing argument 'ID'", option="id", hint="Pass an id, a name or --last.")
    if id is not None and last:
        raise ConfigError("invalid operation: expected either ID or --last", option="id", hint="Remove one of them.")
    if id is None:
        newest = next(client.operations([], 1), None)
        if newest is None:
            raise OperationUnknown("there is no operation yet", operation_id="", hint="Start one first.")
        return newest.operation_id
    return find_id(client, id, acts=acts) or id


def find_id(client: HTTPClient, text: str, *, acts: bool = False) -> str | None:
    """Return the id of the operation that `text` names; None for an unknown one. See `resolve_id`."""
    named: list[OperationSummary] = []
    prefixed: list[OperationSummary] = []
    for operation in islice(client.operations([("find", text)], _MAX_CANDIDATES), _MAX_CANDIDATES):
        if operation.operation_id == text:
            return text
        if operation.name == text:
            named.append(operation)
            if not acts:
                break
        elif not acts or _MACHINE_MADE.fullmatch(operation.operation_id):
            prefixed.append(operation)
    if named:
        live = [operation for operation in named if operation.ended_at is None]
        return named[0].operation_id if len(live) < 2 else _only(text, live)
    return _only(text, prefixed) if prefixed else None


def _only(text: str, found: list[OperationSummary]) -> str:
    """Return the id of the only operation.

    Raises:
        ConfigError: There are several; the error lists them.
    """
    if len(found) == 1:
        return found[0].operation_id
    short = shorten_ids(operation.operation_id for operation in found)
    lines = [_describe(operation, short[operation.operation_id]) for operation in found[:_MAX_LISTED]]
    more = len(found) - len(lines)
    error = ConfigError(
        f"invalid operation {text[:80]!r}: it names {len(found)} operations", option="id", hint="Pass more of the id."
    )
    error.details = "\n".join([*lines, *([f"  … and {more} more"] if more else [])])
    raise error


def _describe(operation: OperationSummary, short: str) -> str:
    since_s = age_s(operation.started_at or operation.queued_at or operation.heard_at, time.time())
    began = f"began {format_ago(since_s or 0)}"
    return f"  {sanitize(short)}  {sanitize(operation.name) or '(no name)'}  {operation.state}, {began}"
