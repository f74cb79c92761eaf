"""A relay's figures in words."""

from tidings.relay.relay import RelayStatistics

_NAMES: tuple[tuple[str, str], ...] = (
    ("published", "published"),
    ("known", "known to the hub already"),
    ("direct", "not for others"),
    ("refused", "refused"),
    ("invalid", "invalid"),
    ("unknown", "of unknown types"),
    ("conflated", "superseded while waiting"),
    ("shed", "dropped for want of room"),
    ("left", "waiting"),
)
_ALWAYS = frozenset({"published"})


def short_figures(figures: RelayStatistics) -> str:
    """Return one line: what was read, and what became of it, as far as there is any."""
    parts = [f"{number:,} {name}" for field, name in _NAMES if (number := getattr(figures, field)) or field in _ALWAYS]
    return ", ".join((f"{figures.envelopes:,} read", *parts))


def full_figures(figures: RelayStatistics, unknown: dict[str, int]) -> list[str]:
    """Return every figure, one a line, and the unknown types with theirs."""
    rows = [
        ("messages of the service", figures.messages),
        ("envelopes in them", figures.envelopes),
        *((name, getattr(figures, field)) for field, name in _NAMES),
        ("connections to the service", figures.source_connections),
        ("connections to the hub", figures.hub_connections),
        *((f"unknown: {type}", number) for type, number in sorted(unknown.items())),
    ]
    width = max(len(f"{number:,}") for _, number in rows)
    return [f"{number:>{width},}  {name}" for name, number in rows]
