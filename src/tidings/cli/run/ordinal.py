"""Reading of headings that number the parts of a run: `Epoch 2/10`, `Step 3/12 : RUN …`, `[1/4] …`, `1 of 12 OK …`."""

import re
from dataclasses import dataclass
from enum import Enum

from tidings.cli.run.message import MAX_LABEL, clean_label, clean_message, cut

_PREFIX = r"(?:(?:\[[^\]]{0,40}\]|\d[\d:.,TZ+/-]*|(?:DEBUG|INFO|NOTICE|WARN|WARNING|ERROR):?|\#\d+|[-|])\s+){0,4}"
_NUMBERS = r"(?P<index>\d{1,7})\s*(?:/|\bof\b)\s*(?P<total>\d{1,7})(?![\w%/:-]|[.,]\d)"
_WORDED = re.compile(
    rf"^\W{{0,4}}{_PREFIX}(?P<label>(?:\w+ing\s+)?(?P<word>epoch|step|stage|phase|round|pass|fold|part|task|cycle|iteration"
    r"|iter|batch|file|item|chunk|page|shard|row|record|image|frame|job|test|layer|block|partition|table|model|package"
    rf"|module|sample|split|\w{{3,}}ing)\s*[:\#]?\s*{_NUMBERS})(?P<rest>.*)$",
    re.IGNORECASE,
)
_BRACKETED = re.compile(rf"^\s*(?:\#\d+\s+)?[\[(]\s*{_NUMBERS}\s*[\])](?P<rest>.*)$")
_COUNTED = re.compile(
    rf"^\s*{_PREFIX}{_NUMBERS}\s+(?P<outcome>START|RUN|OK|PASS|DONE|SUCCESS|ERROR|FAIL|SKIP|WARN|NO-OP|REUSED)\b(?P<rest>.*)$"
)
_STATUS_TAIL = re.compile(r"\s*\.{3,}.*$|\s*\[[^\]]*\]\s*$")
_LEADING_VERB = re.compile(r"^(?:created|creating|loaded|loading|snapshotted|executed|[0-9]+)\s+")


class Outcome(Enum):
    """What a heading says about the part it numbers."""

    UNDER_WAY = "under way"
    """The part is the one going on now, as in `Epoch 2/10`."""
    BEGUN = "begun"
    """The part has begun; others may be going on beside it."""
    FINISHED = "finished"
    """The part is over, well or not."""


@dataclass(frozen=True, slots=True)
class Ordinal:
    """A heading that says which part of how many this is."""

    kind: str
    """What is numbered: the heading's word, `[` for a bracketed number, `of` for counted results."""
    index: int
    """Number of the part, from 1."""
    total: int
    """Parts in all."""
    label: str
    """Name of the part."""
    outcome: Outcome
    """What the heading says about it."""


def read_ordinal(text: str) -> Ordinal | None:
    """Return the heading on a line, None if it is none.

    A heading is believed at once, so its form is strict: it stands at the line's beginning (timestamps and log levels
    aside), with a word that numbers parts, in brackets, or followed by a result in capitals as dbt writes it.
    """
    counted = _COUNTED.match(text)
    if counted is not None:
        outcome = Outcome.BEGUN if counted["outcome"] in ("START", "RUN") else Outcome.FINISHED
        label = _LEADING_VERB.sub("", _STATUS_TAIL.sub("", counted["rest"]).strip())
        return _ordinal("of", counted, clean_label(label), outcome)
    worded = _WORDED.match(text)
    if worded is not None:
        label = worded["label"] + (worded["rest"] if worded["rest"].lstrip().startswith(":") else "")
        return _ordinal(worded["word"].lower(), worded, cut(clean_message(label), MAX_LABEL), Outcome.UNDER_WAY)
    bracketed = _BRACKETED.match(text)
    # A number in brackets alone is a counter at the end of a wrapped line, or a date.
    if bracketed is not None and any(map(str.isalpha, bracketed["rest"])):
        return _ordinal("[", bracketed, clean_label(bracketed["rest"]), Outcome.UNDER_WAY)
    return None


def _ordinal(kind: str, found: re.Match[str], label: str, outcome: Outcome) -> Ordinal | None:
    index, total = int(found["index"]), int(found["total"])
    if not 1 <= index <= total or total < 2:
        return None
    return Ordinal(kind, index, total, label or f"{index}/{total}", outcome)
