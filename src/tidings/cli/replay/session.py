"""One playing from its first connection to its end, and what is told of it."""

from typing import BinaryIO

from tidings.cli.failure import write_lines
from tidings.cli.replay.figures import bar, final_figures
from tidings.cli.replay.player import Player, ReplayRequest
from tidings.cli.replay.selection import Survey
from tidings.cli.status_line import StatusLine
from tidings.contract.contract import Contract

_MOST_NAMED = 3
"""Operations that have not ended and are named."""


async def run_replay(request: ReplayRequest, recording: BinaryIO, survey: Survey, contract: Contract) -> bool:
    """Play a recording.

    Returns:
        Whether the hub has everything that was to be played.

    Raises:
        ClientError: There is no hub, or it ended the connection for good.
    """
    line = StatusLine(lambda: f"{request.file}  {bar(player.played, survey.events)}")
    player = Player(request, recording, survey, contract=contract, say=line.say)
    begun = False
    try:
        with line:
            await player.run()
        begun = True
    finally:
        if begun or player.played.sent:
            write_lines(final_figures(player.played), *_remarks(request, player))
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
