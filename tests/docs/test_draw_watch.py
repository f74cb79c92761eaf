"""The README's picture is what the command draws from events that a hub delivered."""

import html
import re
from collections import defaultdict

import pytest
from docs.draw_watch import EVENTS, PICTURE, cut_at_the_moment, draw, read_events, record

from tidings.client.events import ReceivedEvent

_TEXT = re.compile(r'<text class="watch-r\d+" x="([\d.]+)" y="([\d.]+)"[^>]*>(.*?)</text>', re.DOTALL)


def text_of(svg: str) -> list[str]:
    """Return the lines of text in a picture."""
    lines: defaultdict[float, list[tuple[float, str]]] = defaultdict(list)
    for x, y, text in _TEXT.findall(svg):
        lines[float(y)].append((float(x), html.unescape(text)))
    return [
        "".join(text for _, text in sorted(parts)).replace("\xa0", " ").strip() for _, parts in sorted(lines.items())
    ]


def squeezed(line: str) -> str:
    return "".join(line.split())


@pytest.fixture(scope="module")
def recorded() -> list[ReceivedEvent]:
    with EVENTS.open() as lines:
        return list(read_events(lines))


def test_picture_matches_the_view_of_the_recorded_run(recorded: list[ReceivedEvent]) -> None:
    svg, text = draw(cut_at_the_moment(recorded))
    drawn = [squeezed(line) for line in text.splitlines() if line.strip()]
    assert [squeezed(line) for line in text_of(svg) if line.strip()] == drawn
    assert [squeezed(line) for line in text_of(PICTURE.read_text()) if line.strip()] == drawn, (
        "run: python -m docs.draw_watch"
    )


def test_picture_shows_a_bar_an_end_and_the_connection(recorded: list[ReceivedEvent]) -> None:
    _, text = draw(cut_at_the_moment(recorded))
    assert re.search(r"✔ ruff check complete in ", text)
    assert re.search(r"pytest tests/contract +━+[╸━]+ +\d\d% +\d:\d\d ", text)
    assert "● live" in text


def test_picture_fetches_nothing_and_names_no_machine() -> None:
    svg = PICTURE.read_text()
    assert not re.findall(r"(?:url|src|href)\s*[=(]\s*[\"']?https?:", svg)
    told = EVENTS.read_text()
    assert '"host":"laptop"' in told
    assert not re.search(r'"[^"]*(?<![\w~./])/(?:home|root|work|Users)/', told)


def test_new_run_gives_a_similar_picture() -> None:
    commands = [
        ("pytest tests/contract", ("pytest", "-q", "-p", "no:randomly", "tests/protocol/test_timestamps.py")),
        ("ruff check", ("ruff", "check", "src/tidings/contract")),
    ]
    events = list(read_events(record(commands)))
    ends = [event.type for event in events if event.type in ("operation:complete", "operation:failed")]
    assert ends == ["operation:complete"] * 2
    _, text = draw(cut_at_the_moment(events))
    assert re.search(r"pytest tests/contract +━+", text)
    assert draw(events)[1].count("✔") == 3, "two lines, and their count"
