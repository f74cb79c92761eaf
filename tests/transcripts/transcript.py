"""Parser of transcripts, in the notation of PROTOCOL.md, "Transcripts"."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.transcripts import pattern

_FRAME = re.compile(
    r"(?P<client>[A-Z])(?P<way>[<>])(?P<unordered>~?) (?:(?P<fewest>[0-9]+)(?:–(?P<most>[0-9]+))? × )?(?P<frame>\{.*\})"
)
_TEXT = re.compile(r"(?P<client>[A-Z])> (?P<text>text|bytes) (?P<literal>.+)")
_CONNECTS = re.compile(r"(?P<client>[A-Z]) connects to (?P<target>/\S*)(?: with (?P<subprotocol>\S+))?")
_CLOSED = re.compile(r"(?P<client>[A-Z]) is closed with (?P<code>[0-9]{4})")
_DOES = re.compile(r"(?P<client>[A-Z]) (?P<what>drops|stops reading|reads again)")
_TOKEN = re.compile(r"the hub knows the token (?P<token>\S+) of (?P<name>\S+): (?P<grants>.+)")
_SAME = re.compile(r"(?P<one>[A-Z]) and (?P<other>[A-Z]) have read the same events")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One line of a transcript."""

    line: str
    client: str = ""
    kind: str
    """The action of the player: `connects`, `sends`, `receives`, `closed`, `drops`, …"""
    frame: Any = None
    fewest: int = 1
    most: int = 1
    facts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """Steps, and the settings of the hub for them."""

    settings: dict[str, Any]
    tokens: dict[str, tuple[str, tuple[str, ...]]]
    """Subject and grants of each token; a hub without tokens identifies no one."""
    steps: tuple[Step, ...]


def parse(text: str) -> Transcript:
    """Parse `text` into a transcript.

    Raises:
        ValueError: A line is not in the notation.
    """
    settings: dict[str, Any] = {}
    tokens: dict[str, tuple[str, tuple[str, ...]]] = {}
    steps = []
    for line in _joined(text):
        if line.startswith("the hub has "):
            for part in line.removeprefix("the hub has ").split(", "):
                name, _, value = part.partition("=")
                settings[name] = float(value) if "." in value else int(value)
        elif match := _TOKEN.fullmatch(line):
            tokens[match["token"]] = match["name"], tuple(match["grants"].split(", "))
        else:
            steps.append(_step(line))
    return Transcript(settings=settings, tokens=tokens, steps=tuple(steps))


def _joined(text: str) -> Iterator[str]:
    """Yield the lines without comments; an indented line continues the line before."""
    pending = ""
    for line in text.splitlines():
        if line.startswith((" ", "\t")):
            pending += line.strip()
        else:
            if pending:
                yield pending
            pending = "" if line.startswith("#") else line.strip()
    if pending:
        yield pending


def _step(line: str) -> Step:
    if match := _FRAME.fullmatch(line):
        fewest = int(match["fewest"] or 1)
        kind = "sends" if match["way"] == ">" else "receives in any order" if match["unordered"] else "receives"
        return Step(
            line=line,
            client=match["client"],
            kind=kind,
            frame=pattern.read(match["frame"]),
            fewest=fewest,
            most=int(match["most"] or fewest),
        )
    if match := _TEXT.fullmatch(line):
        return Step(line=line, client=match["client"], kind=f"sends {match['text']}", frame=match["literal"])
    for form, kind in ((_CONNECTS, "connects"), (_CLOSED, "closed"), (_SAME, "same")):
        if match := form.fullmatch(line):
            facts = {name: value or "" for name, value in match.groupdict().items()}
            return Step(line=line, client=facts.get("client", ""), kind=kind, facts=facts)
    if match := _DOES.fullmatch(line):
        return Step(line=line, client=match["client"], kind=match["what"])
    if line in ("the hub drains", "the log is trimmed"):
        return Step(line=line, kind=line)
    raise ValueError(f"not in the notation: {line!r}")
