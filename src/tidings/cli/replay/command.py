"""The command `tidings replay`: plays one recording, and reports its statistics."""

import asyncio
from typing import Annotated, BinaryIO

import typer

from tidings.cli.contract.command import ContractOption, chosen_contract
from tidings.cli.errors import FAILED, print_stderr
from tidings.cli.options import ToOption, parse_duration_option
from tidings.cli.recordings import open_recording
from tidings.cli.replay.player import Played, Player, ReplayRequest
from tidings.cli.replay.selection import Survey, survey
from tidings.cli.replay.timing import read_bound, read_speed
from tidings.cli.status_line import StatusLine
from tidings.client.options import LinkOptions
from tidings.client.url import resolve_hub_url
from tidings.contract.contract import Contract
from tidings.exceptions import ConfigError

_MAX_PAUSE_S = 365 * 86_400.0
_MOMENTS = ("received", "timestamp")


def replay(
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="Recording, compressed or not; - is stdin.", show_default=False),
    ],
    to: ToOption = None,
    speed: Annotated[
        str, typer.Option(metavar="SPEED", help="Speed: 1 is the original, 10 ten times as fast, or max.")
    ] = "1",
    begin: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", help="Skip events before: 1m30s, or a time.", show_default=False),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option("--until", metavar="TIME", help="Skip events from then on.", show_default=False),
    ] = None,
    max_pause: Annotated[
        str | None,
        typer.Option("--max-pause", metavar="TIME", help="Shorten longer pauses to this.", show_default=False),
    ] = None,
    by: Annotated[str, typer.Option(metavar="MOMENT", help="Time that spaces the events: received or timestamp.")] = (
        "received"
    ),
    new_ids: Annotated[
        bool, typer.Option("--new-ids", help="Use new ids for operations, traces and events, to play it again.")
    ] = False,
    keep_timestamps: Annotated[
        bool, typer.Option("--keep-timestamps", help="Keep the recorded timestamps. Default: those of the playback.")
    ] = False,
    spec: ContractOption = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for a hub that is not reachable yet.")] = False,
) -> None:
    """Play a recording into a hub.

    Without --new-ids, a recording is stored once, however often it is played. Exit code: 0 if the hub has every event,
    1 if it refused one or a line is not an envelope, 2 if the file is not a recording.
    """
    if by not in _MOMENTS:
        raise ConfigError(
            f"--by: invalid value {by[:40]!r}: expected {' or '.join(_MOMENTS)}",
            option="by",
            source="argument",
            hint=f"Write {' or '.join(_MOMENTS)}.",
        )
    request = ReplayRequest(
        file=file,
        url=resolve_hub_url(to),
        link=LinkOptions(wait_for_hub=wait),
        speed=read_speed(speed),
        max_pause_s=None if max_pause is None else parse_duration_option("max-pause", max_pause, 0.0, _MAX_PAUSE_S),
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
    """Return the progress bar and counts during a replay."""
    share = min(1.0, played.sent / total) if total else 1.0
    filled = round(share * _CELLS)
    done = "━" * filled + "╌" * (_CELLS - filled)
    return f"{done} {share:4.0%}  {played.sent:,} of {total:,} events"


def format_figures(played: Played) -> str:
    """Return the line that is printed at the end."""
    parts = [f"{played.stored:,} stored"]
    for number, name in (
        (played.known, "already in the hub"),
        (played.refused, "refused"),
        (played.leftovers, "of an earlier attempt, skipped"),
        (played.hubs_own, "internal to a hub, skipped"),
        (played.broken, "invalid line" if played.broken == 1 else "invalid lines"),
    ):
        if number:
            parts.append(f"{number:,} {name}")
    return f"{played.sent:,} {'event' if played.sent == 1 else 'events'} played: {', '.join(parts)}"


_MAX_NAMED = 3
"""Number of operations without an end that are named."""


async def run_replay(request: ReplayRequest, recording: BinaryIO, known: Survey, contract: Contract) -> bool:
    """Play a recording.

    Returns:
        Whether the hub has every event of the selection.

    Raises:
        ClientError: The hub is unreachable, or ended the connection permanently.
    """
    line = StatusLine(lambda: f"{request.file}  {format_bar(player.played, known.events)}")
    player = Player(request, recording, known, contract=contract, report=line.print)
    begun = False
    try:
        with line:
            await player.run()
        begun = True
    finally:
        if begun or player.played.sent:
            print_stderr(format_figures(player.played), *_notes(request, player))
    return not (player.played.refused or player.played.broken)


def _notes(request: ReplayRequest, player: Player) -> list[str]:
    played = player.played
    notes = []
    if played.known and not played.stored and not played.refused:
        notes.append("hint: Every event was in the hub before. Pass --new-ids to play them as new operations.")
    if player.open and played.stored:
        named = ", ".join(sorted(player.open)[:_MAX_NAMED])
        more = f" and {len(player.open) - _MAX_NAMED:,} more" if len(player.open) > _MAX_NAMED else ""
        notes.append(f"still running in the hub, because the played events do not end them: {named}{more}")
    return notes
