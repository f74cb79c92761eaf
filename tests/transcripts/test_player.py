"""The player detects every difference from a transcript; otherwise a played document would prove nothing."""

import pytest
from tests.transcripts import http_example, player, transcript
from tests.transcripts.pattern import Mismatch, Names

SUBSCRIBE = 'C> {"type":"channel:subscribe","id":"1","data":{"channels":["data"],"since":"now"}}\n'
SUBSCRIBED = (
    'C< {"type":"channel:subscribed",…,"data":{"channels":["data","global"],"position":"…p0","outcome":"live"},'
    '"reply_to":"1"}\n'
)
LIVE = 'C< {"type":"channel:live",…,"data":{"channels":["data","global"],"position":"…p0"}}\n'
CONNECTS = "C connects to /ws with tidings.v1\n"


async def test_matching_transcript_passes() -> None:
    await player.play(transcript.parse(CONNECTS + SUBSCRIBE + SUBSCRIBED + LIVE))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(CONNECTS + SUBSCRIBE + SUBSCRIBED, id="a frame that is not shown"),
        pytest.param(CONNECTS + SUBSCRIBE + LIVE + SUBSCRIBED, id="another order"),
        pytest.param(CONNECTS + SUBSCRIBE + SUBSCRIBED.replace('"live"', '"gap"') + LIVE, id="another value"),
        pytest.param(CONNECTS + SUBSCRIBE + SUBSCRIBED.replace(',"reply_to":"1"', "") + LIVE, id="a member too many"),
        pytest.param(CONNECTS + SUBSCRIBE + SUBSCRIBED + LIVE.replace("…p0", "…") + "C is closed with 1000", id="open"),
        pytest.param(CONNECTS.replace(" with tidings.v1", "") + SUBSCRIBE + SUBSCRIBED + LIVE, id="a plain connection"),
        pytest.param(
            CONNECTS + SUBSCRIBE + SUBSCRIBED + LIVE.replace('"position":"…p0"}}', '"position":"…p1"},"x":"…p1"}'),
            id="a name that is met first where nothing is",
        ),
        pytest.param("V connects to /ws\nW connects to /ws\nV and W have read the same events", id="nothing read"),
    ],
)
async def test_differing_transcript_fails(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(player, "TIMEOUT_S", 0.2)
    with pytest.raises(Mismatch):
        await player.play(transcript.parse(text))


async def test_close_with_another_code_fails() -> None:
    text = (
        'C connects to /ws?channel=weather\nC< {"type":"connection:error",…,"data":"…"}\n'
        'C< {"type":"connection:closed",…,"data":"…"}\nC is closed with 1000'
    )
    with pytest.raises(Mismatch, match="1008"):
        await player.play(transcript.parse(text))


@pytest.mark.parametrize(
    ("shown", "told"),
    [("404", "200"), ('200\n<\n< {"status":"dead"}', "alive"), ("200\n< Content-Type: text/plain", "content-type")],
)
async def test_differing_http_answer_fails(shown: str, told: str) -> None:
    with pytest.raises(Mismatch, match=rf"(?i){told}"):
        await http_example.play(http_example.parse(f"> GET /healthz\n< {shown}"))


def test_line_outside_the_notation_raises() -> None:
    with pytest.raises(ValueError, match="not in the notation"):
        transcript.parse("C greets the hub")


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"a": 1}, {"a": True}),
        ([1, 2], [1]),
        ("…×3", "xx"),
        ("…", ""),
        ("…", None),
        (["…p1", "…p1"], ["one", "other"]),
    ],
)
def test_differing_values_do_not_match(pattern: object, value: object) -> None:
    with pytest.raises(Mismatch):
        Names().match(pattern, value)


def test_name_keeps_its_first_value() -> None:
    names = Names()
    names.match({"position": "…p1", "now": "…"}, {"position": "4f1c09ab:7", "now": "later"})
    assert names.fill({"since": "…p1", "n": "…n", "text": "…×4"}, 3) == {"since": "4f1c09ab:7", "n": 3, "text": "xxxx"}
    with pytest.raises(ValueError, match="has no value yet"):
        names.fill("…p2")
