"""A playing's figures in words."""

from tidings.cli.replay.player import Played

_CELLS = 24


def bar(played: Played, total: int) -> str:
    """Return the line that is shown while it plays."""
    share = min(1.0, played.sent / total) if total else 1.0
    filled = round(share * _CELLS)
    done = "━" * filled + "╌" * (_CELLS - filled)
    return f"{done} {share:4.0%}  {played.sent:,} of {total:,} events"


def final_figures(played: Played) -> str:
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
