"""The command `tidings flush`."""

import asyncio
import shlex
from typing import Annotated

import typer

from tidings.cli.errors import FAILED, exit_code, print_error, print_stderr
from tidings.cli.options import UrlOption, parse_duration_option
from tidings.client.options import LinkOptions
from tidings.client.url import resolve_hub_url
from tidings.contract.contract import Contract
from tidings.exceptions import TidingsError
from tidings.producer.spool.directory import ClosedSpool, SpoolOptions
from tidings.producer.spool.recovery import RecoveryResult, count_left_behind, list_closed_to_us, recover_all

_MIN_TIMEOUT_S, _MAX_TIMEOUT_S = 0.1, 86_400.0


def flush(
    url: UrlOption = None,
    timeout: Annotated[str, typer.Option(metavar="TIME", help="Maximum total time.")] = "30s",
    adopt: Annotated[
        bool,
        typer.Option("--adopt", help="Send events that were written with another token, too, as this one's subject."),
    ] = False,
) -> None:
    """Send starts and ends of operations that a terminated program left unsent.

    The next program that reports to the same hub does this by itself. An event that the hub rejects is set aside in a
    file, and those behind it are sent. Events that were written with another subject's token wait for that token.
    """
    timeout_s = parse_duration_option("timeout", timeout, _MIN_TIMEOUT_S, _MAX_TIMEOUT_S)
    address, spool = resolve_hub_url(url), SpoolOptions()
    recovered = asyncio.run(recover_all(address, LinkOptions(), Contract(), spool, timeout_s=timeout_s, adopt=adopt))
    for each in recovered:
        typer.echo(_summarize(each))
    left, closed = count_left_behind(address, spool), list_closed_to_us(address, spool)
    for one in closed:
        _report_closed(one)
    if left:
        error = next((each.error for each in recovered if each.error is not None), None)
        _report_left(left, error)
        raise typer.Exit(FAILED if error is None else exit_code(error))
    if any(one.has_events for one in closed):
        raise typer.Exit(FAILED)
    if not recovered:
        typer.echo("nothing to send")


def _report_closed(closed: ClosedSpool) -> None:
    path, owner = str(closed.path), closed.owner
    if not closed.has_events:
        print_stderr(f"note: {path} belongs to {owner}, who alone can send events that may be in it")
    elif closed.is_folder:
        print_stderr(
            f"error: the events in {path} are still unsent: it belongs to {owner}",
            f"hint: Run it as that user: `sudo -u {shlex.quote(owner)} tidings flush`.",
        )
    else:
        print_stderr(
            f"error: the events in {path} are still unsent: only {owner} may read and change it",
            f"hint: Take it over with `sudo chown $USER {shlex.quote(path)}`, and run `tidings flush` again.",
        )


def _report_left(left: int, error: TidingsError | None) -> None:
    summary = "1 event is still unsent" if left == 1 else f"{left} events are still unsent"
    if error is None:
        print_stderr(f"error: {summary}", "hint: Run `tidings flush` again, or raise --timeout.")
    else:
        print_error(error, prefix=f"{summary}: ")


def _summarize(recovered: RecoveryResult) -> str:
    parts = [
        f"{number} {outcome}"
        for number, outcome in (
            (recovered.sent, "sent"),
            (recovered.known, "already in the hub"),
            (recovered.refused, "refused, because their operations have ended"),
            (recovered.rejected, f"rejected, now in {recovered.rejected_file}"),
            (recovered.left, "left"),
        )
        if number
    ]
    return f"{recovered.producer_id}: {', '.join(parts) or 'nothing'}"
