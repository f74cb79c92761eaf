"""The command `tidings replay`.

One playing from its first connection to its end, and what is told of it.

A playing's figures in words.
"""

import asyncio
import os
from typing import Annotated, BinaryIO

import typer

from tidings.cli.contract.command import ContractOption, chosen_contract
from tidings.cli.errors import FAILED, print_stderr
from tidings.cli.options import TokenOption, ToOption, parse_duration_option
from tidings.cli.replay.player import Played, Player, ReplayRequest
from tidings.cli.replay.selection import Survey
from tidings.cli.status_line import StatusLine
from tidings.contract.contract import Contract
from tidings.exceptions import ConfigError

_LONGEST_S = 365 * 86_400.0
_MOMENTS = ("received", "timestamp")


def replay(
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="What `tidings record` wrote, .gz or not; - is stdin.", show_default=False),
    ],
    to: ToOption = None,
    token: TokenOption = None,
    speed: Annotated[str, typer.Option(metavar="SPEED", help="1 is as it was, 10 ten times as fast, or max.")] = "1",
    begin: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", help="Leave out what was before: 1m30s, or a time.", show_default=False),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option("--until", metavar="TIME", help="Leave out what was from then on.", show_default=False),
    ] = None,
    max_pause: Annotated[
        str | None,
        typer.Option("--max-pause", metavar="TIME", help="Shorten longer pauses of the recording.", show_default=False),
    ] = None,
    by: Annotated[str, typer.Option(metavar="MOMENT", help="What spaces the events: received or timestamp.")] = (
        "received"
    ),
    new_ids: Annotated[
        bool, typer.Option("--new-ids", help="Play as new operations, traces and events: again and again.")
    ] = False,
    keep_timestamps: Annotated[
        bool, typer.Option("--keep-timestamps", help="Events say when they were recorded, not when they are played.")
    ] = False,
    spec: ContractOption = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for a hub that is not there yet.")] = False,
) -> None:
    """Play a recording into a hub.

    Without --new-ids a recording is stored once, however often it is played. Exit code 0 when the hub has everything,
    1 when it refused something or a line is no envelope, 2 when this is no recording.
    """
    from tidings.cli.recordings import open_recording
    from tidings.cli.replay.player import ReplayRequest
    from tidings.cli.replay.selection import survey
    from tidings.cli.replay.timing import read_bound, read_speed
    from tidings.client.options import LinkOptions, read_token
    from tidings.client.url import resolve_hub_url

    if by not in _MOMENTS:
        raise ConfigError(
            f"--by: {by[:40]!r} is neither", option="by", source="argument", hint=f"Write {' or '.join(_MOMENTS)}."
        )
    request = ReplayRequest(
        file=file,
        url=resolve_hub_url(to),
        link=LinkOptions(token=read_token(token, os.environ), wait_for_hub=wait),
        speed=read_speed(speed),
        max_pause_s=None if max_pause is None else parse_duration_option("max-pause", max_pause, 0.0, _LONGEST_S),
        new_ids=new_ids,
        keep_timestamps=keep_timestamps,
    )
    contract = chosen_contract(spec)
    first = None if begin is None else read_bound("from", begin)
    last = None if end is None else read_bound("until", end)
    with open_recording(file) as recording:
        known = survey(recording, contract, by_timestamp=by == "timestamp", begin=first, end=last)
        if not asyncio.run(run_replay(request, recording, known, contract)):
            raise typer.Exit(FAILED)


_CELLS = 24


def format_bar(played: Played, total: int) -> str:
    """Return the line that is shown while it plays."""
    share = min(1.0, played.sent / total) if total else 1.0
    filled = round(share * _CELLS)
    done = "━" * filled + "╌" * (_CELLS - filled)
    return f"{done} {share:4.0%}  {played.sent:,} of {total:,} events"


def format_figures(played: Played) -> str:
    """Return the line that is told at the end."""
    parts = [f"{played.stored:,} stored"]
    for number, name in (
        (played.known, "known to the hub already"),
        (played.refused, "refused"),
        (played.hubs_own, "of a hub's own left out"),
        (played.broken, "no envelope" if played.broken == 1 else "no envelopes"),
    ):
        if number:
            parts.append(f"{number:,} {name}")
    return f"{played.sent:,} {'event' if played.sent == 1 else 'events'} played: {', '.join(parts)}"


_MOST_NAMED = 3
"""Operations that have not ended and are named."""


async def run_replay(request: ReplayRequest, recording: BinaryIO, survey: Survey, contract: Contract) -> bool:
    """Play a recording.

    Returns:
        Whether the hub has everything that was to be played.

    Raises:
        ClientError: There is no hub, or it ended the connection for good.
    """
    line = StatusLine(lambda: f"{request.file}  {format_bar(player.played, survey.events)}")
    player = Player(request, recording, survey, contract=contract, say=line.print)
    begun = False
    try:
        with line:
            await player.run()
        begun = True
    finally:
        if begun or player.played.sent:
            print_stderr(format_figures(player.played), *_remarks(request, player))
    return not (player.played.refused or player.played.broken)


def _remarks(request: ReplayRequest, player: Player) -> list[str]:
    played = player.played
    remarks = []
    if played.known and not played.stored and not played.refused:
        remarks.append("hint: The hub had all of it before: --new-ids plays it as new operations.")
    if player.open and played.stored:
        named = ", ".join(sorted(player.open)[:_MOST_NAMED])
        more = f" and {len(player.open) - _MOST_NAMED:,} more" if len(player.open) > _MOST_NAMED else ""
        remarks.append(f"not ended in what was played, and running in the hub until it ends them: {named}{more}")
    return remarks
