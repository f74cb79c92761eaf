"""The command `tidings flush`."""

import asyncio
import os
from typing import TYPE_CHECKING, Annotated

import typer

from tidings.cli.errors import FAILED, print_error, print_stderr
from tidings.cli.options import UrlOption

if TYPE_CHECKING:
    from tidings.exceptions import TidingsError
    from tidings.producer.spool.recovery import Adopted

_TIMEOUT_S = 30.0


def flush(
    url: UrlOption = None,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, help="How long it may take, all in all.")
    ] = _TIMEOUT_S,
) -> None:
    """Send what programs that died had not sent: the starts and ends of their operations.

    The next program that reports to the same hub does this by itself.
    """
    from tidings.client.options import LinkOptions, read_token
    from tidings.client.url import hub_url
    from tidings.contract.contract import Contract
    from tidings.producer.spool.directory import SpoolOptions
    from tidings.producer.spool.recovery import left_behind, recover_all

    address, spool = hub_url(url), SpoolOptions()
    options = LinkOptions(token=read_token(None, os.environ))
    adopted = asyncio.run(recover_all(address, options, Contract(), spool, timeout_s=timeout))
    for one in adopted:
        typer.echo(_sentence(one))
    left = left_behind(address, spool)
    if left:
        _tell_left(left, next((one.error for one in adopted if one.error is not None), None))
        raise typer.Exit(FAILED)
    if not adopted:
        typer.echo("nothing is left to send")


def _tell_left(left: int, error: "TidingsError | None") -> None:
    what = "1 event is left to send" if left == 1 else f"{left} events are left to send"
    if error is None:
        print_stderr(f"error: {what}", "hint: Run `tidings flush` again, or give it more --timeout.")
    else:
        print_error(error, prefix=f"{what}: ")


def _sentence(adopted: "Adopted") -> str:
    parts = [
        f"{number} {what}"
        for number, what in (
            (adopted.sent, "sent"),
            (adopted.known, "known to the hub already"),
            (adopted.refused, "refused, because their operations are over"),
            (adopted.left, "left"),
        )
        if number
    ]
    return f"{adopted.producer_id}: {', '.join(parts) or 'nothing'}"
