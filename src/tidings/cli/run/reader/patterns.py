"""Reads one line of output: its progress, its heading (`Epoch 2/10`, `[1/4] …`, `1 of 12 OK …`) and its message.

A number wrongly reported as progress does more harm than a missed one, so the rules prefer silence:

* A percentage does not count next to the name of a measure (`CPU 95%`, `95% coverage`), with a sign, or before "of"
  unless a size follows (`100% of tests` does not count, `42% of 10.0MiB` does).
* `n/m` does not count in dates, paths, versions and ratios of three parts, nor where n is larger than m.
* A line that is drawn over is a display, and its numbers count. A line written once belongs to a log: there only
  unmistakable forms count immediately (`[ 42%]`, `42% done`, `Epoch 2/10`, `[3/120] cc …`, `1 of 12 OK …`). All others
  are marked as uncertain, and `tidings.cli.run.reader.bars.GrowthFilter` checks whether they grow.
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from tidings.cli.run.reader.forms import SIGNS

MAX_MESSAGE = 200
"""Characters of a message: one line, wider than most terminals."""
MAX_LABEL = 80
"""Characters of a step's name, which is shown beside a bar."""

# Blocks, box lines, squares and braille, of which bars and spinners are drawn.
_GRAPHICS = "\u2500-\u257f\u2580-\u259f\u25a0-\u25a3\u25aa-\u25af\u25b0\u25b1\u25cf\u25cb\u2800-\u28ff"
BAR = re.compile(
    rf"""
      \|[ \#{_GRAPHICS}0-9]{{3,}}\|                      # tqdm, its ASCII form included
    | [{_GRAPHICS}]{{4,}}(?:[ ]?[{_GRAPHICS}])*          # rich, pip, Keras 3
    | [\[(|](?=[^\]\[|)]*[=\#>.*\-]{{3}})[=\#>.*\-\ o]{{5,}}[\])|]   # [====>....], [##### ]
    | [\[(][=\#>.*+~\-\\/|\ o]{{8,}}[\])](?=\s*\d)             # cargo, mksquashfs: [=>          ] 3/120
    | \|=[=\ ]{{8,}}[/\-\\|]?(?=\s*\d)                        # e2fsck: |===      / 5.1%
    | <=*>?-+>(?=\s*\d)                                       # gradle: <===---->
    """,
    re.VERBOSE,
)
_LONE_GRAPHICS = re.compile(f"[{_GRAPHICS}]+")
_RULE = re.compile(r"^[=\-_*#~+\s]{3,}|[=\-_*#~+\s]{3,}$")
_SPACE = re.compile(r"\s+")
_TIMESTAMP = re.compile(r"^\s*(?:\[?\d[\d:.,TZ+/-]*\]?\s+)+")
_SEPARATORS = " \t:|-–—=>.,;#*"


def cut(text: str, limit: int) -> str:
    """Return `text` shortened to `limit` characters; an ellipsis marks the cut."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def clean_message(line: str) -> str:
    """Return the words of a line without bars, spinners and rules; empty if it has none."""
    text = _LONE_GRAPHICS.sub(" ", BAR.sub(" ", line))
    text = _SPACE.sub(" ", _RULE.sub(" ", text)).strip()
    return cut(text, MAX_MESSAGE) if any(map(str.isalnum, text)) else ""


def clean_label(text: str) -> str:
    """Return the name of a step from the text beside its bar; empty if the text has no letters."""
    if not text or text.isspace():
        return ""
    text = BAR.sub(" ", _TIMESTAMP.sub("", text))
    if not text.isascii():
        text = _LONE_GRAPHICS.sub(" ", text)
    text = _SPACE.sub(" ", text).strip(_SEPARATORS)
    for opening, closing in ("[]", "()"):
        if text.count(opening) != text.count(closing):
            text = text.strip(opening + closing + _SEPARATORS)
    return cut(text, MAX_LABEL) if any(map(str.isalpha, text)) else ""


# A line without a match of either has no progress; this test rejects nearly every line of a log.
_CANDIDATE = re.compile(rf"\d(?: ?%|[^\d\n/]{{0,6}}/ ?\d|{SIGNS})")
_COUNT_OF = re.compile(r"\d\S{0,6} (?:out )?of +~?\d")
_PERCENT = re.compile(r"(?<![\w.,/])(?<!\d:)(?P<value>\d{1,3}(?:[.,]\d{1,2})?)(?:/100)? ?%(?![\w%])")
_NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"
_UNIT = r"[kKMGTP]i?(?:[Bb](?:ytes)?)?|[Bb](?:ytes)?"
_FRACTION = re.compile(
    rf"(?<![\w.,:/=\\-])(?P<done>{_NUMBER})(?: ?(?P<done_unit>{_UNIT}))?(?:(?P<slash> ?/ ?)| (?:out )?of +)"
    rf"(?P<total>{_NUMBER})(?: ?(?P<total_unit>{_UNIT}))?(?![\w%/\\-]|[.,:]\d| \d\d:\d\d)"
)
_SIZE_AFTER_OF = re.compile(r"\s+of\s+~?\s*\d[\d.,]*\s?[kKMGTP]i?B\b")
_BRACKETED = re.compile(r"^\s*\[ ?\s*\d{1,3}%\]|\[ ?\s*\d{1,3}%\]\s*$")
_SIGNED = re.compile(r"(?:^|[\s(\[])[-+~<>≤≥±−≈]\s?$|\w=$|\s=+>\s*$")
_WORD_BACKWARDS = re.compile(r"[\s:=(\[]*([0-9]?[a-z_]+)")
_WORDS = re.compile(r"[a-z_]+[0-9]?")
_DONE = re.compile(
    r"progress|complete[d]?|done|finished|download(?:ing|ed)?|upload(?:ing|ed)?|load(?:ing|ed)|copying|copied"
    r"|(?:install|process|convert|build|writ|read|sync|index|import|export|train|encod|render|scann?|extract)ing"
)
_PARTS = (
    "epoch|step|stage|phase|round|pass|fold|part|task|cycle|iteration|iter|batch|file|item|chunk|page|shard|row|record"
    "|image|frame|job|test|layer|block|partition|table|model|package|module|sample|split"
)
_MEASURE_WORDS = """
    cpu cpus gpu mem memory ram swap disk usage use used util utilization utilisation free idle full busy load
    coverage cover covered accuracy acc val_acc loss packet rate ratio hit hits miss misses confidence battery score
    precision recall f1 auc iou humidity volume threshold quality similarity identity identical similar tax discount
    off probability prob success failure failed passed pass tests test faster slower less more higher lower larger
    smaller bigger increase decrease reduction reduced saved saving savings above below over under than least most by
    only efficiency sparsity overlap error errors percentile quantile dropout duty charging charged
    discharging converted rated rating grade attempt attempts try tries retry retrying retries connections pool
    queue reviewers agree deflated compressed heap fan temp brightness level signal strength zoom opacity budget peers
"""
_MEASURES = frozenset(_MEASURE_WORDS.split())
# Words beside the progress of a display.
_PACE = re.compile(r"\b(?:eta|remaining|elapsed)\b|[kKMG]i?[Bb]?/s", re.IGNORECASE)
# A log must mention one of these beside a number that grows: work under way or done, its objects, or its pace.
_WORK_NAMES = """
    progress complete completed done finished downloaded uploaded copied processed converted imported exported indexed
    migrated inserted transferred handled encoded rendered scanned extracted analyzed analysed eta elapsed
"""
_WORK_WORDS = frozenset(_WORK_NAMES.split()) | {name + plural for name in _PARTS.split("|") for plural in ("", "s")}
_OTHER_VERBS = """
    waiting retrying connecting reconnecting polling pending remaining charging discharging running using rating missing
    failing nothing something string ring
"""
_NO_WORK = frozenset(_OTHER_VERBS.split())
_PLAIN_WORDS = re.compile(r"\b[a-z_]{3,}\b(?!\.\w)")
_RATE = re.compile(r"\d ?\w{0,4}/s\b")
_DOTS = "." * 8
_ALONE = re.compile(r"[\s.:()\[\]-]*\d[\d.,]* ?(?:%|(?:/|of) ?\d[\d.,]*)[\s.:()\[\]-]*")
# `Emerging (3 of 10)`: the third part is under way.
_UNDER_WAY = re.compile(r"[a-z]ing[\s(\[:#]*$")
_TOTAL = re.compile(r"(?:total|overall|progress)\W*$", re.IGNORECASE)
_UNIT_EXPONENT = {"": 0, "b": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
# Dates: 3/2026.
_MONTHS = 12
_YEARS = frozenset(map(str, range(1990, 2100)))
# Characters between a bar and its percentage.
_MAX_GAP = 3
# Points by which a percentage and a fraction on one line may differ, because of rounding.
_MAX_ROUNDING = 1.5


class ProgressReading(NamedTuple):
    """Progress as stated by one line."""

    percent: float
    """0 to 100."""
    label: str
    """Name that the line gives it, or empty."""
    done: float | None
    """Completed count or bytes, if stated."""
    total: float | None
    """Total count or bytes, if stated."""
    drawn: bool
    """Whether the line shows a bar."""
    certain: bool
    """Whether the form is unmistakable; otherwise only growth proves that this is progress."""

    @property
    def full(self) -> bool:
        """Whether nothing is left to do."""
        return self.percent >= 100.0 if self.done is None or self.total is None else self.done >= self.total


def may_hold_progress(text: str) -> bool:
    """Return whether `read_progress` or `read_ordinal` could find something on a line; a quick test."""
    return _CANDIDATE.search(text) is not None or (" of " in text and _COUNT_OF.search(text) is not None)


def read_progress(text: str, *, redrawn: bool) -> ProgressReading | None:
    """Return the first statement of progress on a line; None if it has none.

    Args:
        text: The line, without escape sequences.
        redrawn: Whether the program draws over the line in place, as displays do and logs do not.
    """
    bar = BAR.search(text)
    percent = _find_percent(text, bar)
    fraction, done, total = _find_fraction(text, percent)
    if percent is None and (fraction is None or _counts_other(text, fraction)):
        return None
    bracketed = percent is not None and _BRACKETED.search(text) is not None
    if percent is not None and not (bar or bracketed) and _is_table(text, percent, redrawn=redrawn):
        return None
    start = min(found.start() for found in (bar, percent, fraction) if found is not None)
    value = _value(percent) if percent is not None else 100.0 * (done or 0.0) / (total or 1.0)
    if percent is not None:
        certain = bracketed or (redrawn and (bar is not None or _PACE.search(text) is not None))
        certain = certain or _names_progress(text, percent)
    else:
        certain = redrawn and bar is not None
        if not (redrawn or bar) and done and _UNDER_WAY.search(text[:start]) is not None:
            done -= 1.0
            value = 100.0 * done / (total or 1.0)
    label = "" if bracketed else clean_label(text[:start])
    return ProgressReading(value, label, done, total, drawn=bar is not None, certain=certain)


def _find_percent(text: str, bar: re.Match[str] | None) -> re.Match[str] | None:
    """Return the percentage in or right after the bar, or else the first."""
    first: re.Match[str] | None = None
    # Nothing behind the last sign matches; the pattern looks at one more character.
    for found in _PERCENT.finditer(text, 0, text.rfind("%") + 2):
        if _value(found) <= 100.0 and not _is_measure(text, found):
            if bar is None or bar.start() < found.start() <= bar.end() + _MAX_GAP:
                return found
            first = first or found
    return first


def _value(percent: re.Match[str]) -> float:
    return float(percent["value"].replace(",", "."))


def _is_measure(text: str, percent: re.Match[str]) -> bool:
    """Return whether a percentage measures something other than progress."""
    before, after = text[: percent.start()], text[percent.end() :]
    if _SIGNED.search(before[-8:]):
        return True
    if after.startswith(" "):
        following = _WORDS.match(after[1:24].lower())
        if following is not None:
            if following[0] in _MEASURES:
                return True
            if following[0] == "of" and not _SIZE_AFTER_OF.match(after):
                return True
    preceding = _WORD_BACKWARDS.match(before[:-33:-1].lower())
    # `a PASSED [ 25%]` is progress although a word of results stands before it.
    return preceding is not None and preceding[1][::-1] in _MEASURES and _BRACKETED.search(text) is None


def mentions_work(text: str) -> bool:
    """Return whether a line mentions work under way, what is worked on, or a pace; levels and scores do not.

    A number that is alone in its line needs no such word.
    """
    if _DOTS in text or _ALONE.fullmatch(text) is not None or _RATE.search(text) is not None:
        return True
    words = _PLAIN_WORDS.findall(text.lower())
    return any(word in _WORK_WORDS or (word.endswith("ing") and word not in _NO_WORK) for word in words)


def _is_table(text: str, percent: re.Match[str], *, redrawn: bool) -> bool:
    """Return whether a line without a bar is a row of a table: figures in columns as in `df`, several percentages."""
    before = text[: percent.start()]
    if text.count("%") > 1 and not _TOTAL.search(before):
        return any(_value(found) != _value(percent) for found in _PERCENT.finditer(text, percent.end()))
    columns = before.split()[-3:]
    return not redrawn and len(columns) == 3 and all(column[0].isdigit() for column in columns)


def _names_progress(text: str, percent: re.Match[str]) -> bool:
    """Return whether the words around a percentage name progress."""
    preceding = _WORDS.findall(text[: percent.start()].lower())
    following = _WORDS.findall(text[percent.end() :].lower())
    return any(_DONE.fullmatch(word) for word in [*preceding[:1], *preceding[-2:], *following[:1]])


def _find_fraction(text: str, percent: re.Match[str] | None) -> tuple[re.Match[str] | None, float | None, float | None]:
    """Return the first `n/m` or `n of m` that can be progress, and n and m; beside a percentage, one that agrees."""
    value = _value(percent) if percent is not None else 0.0
    for found in _FRACTION.finditer(text):
        done, total = _amounts(found)
        if total < 2 or done > total:
            continue
        if percent is not None and abs(100.0 * done / total - value) > _MAX_ROUNDING:
            continue
        if percent is None and done <= _MONTHS and found["total"] in _YEARS:
            continue
        fractional = "." in found["done"] or "." in found["total"]
        if fractional and percent is None and not (found["total_unit"] or found["done_unit"]):
            continue  # versions and measurements; sizes carry their unit
        return found, done, total
    return None, None, None


def _counts_other(text: str, fraction: re.Match[str]) -> bool:
    """Return whether the words beside a fraction name a score, a try or a ratio."""
    start, end = fraction.span()
    after = _WORDS.search(text[end : end + 24].lower())
    if after is not None and after[0] in _MEASURES:
        return True
    before = _WORDS.findall(text[max(0, start - 24) : start].lower())
    return not _MEASURES.isdisjoint(before[-2:])


def _amounts(fraction: re.Match[str]) -> tuple[float, float]:
    """Return both sides of a fraction in one unit: in `3.2/10.0 MB` the left side gets the unit of the right."""
    unit = fraction["total_unit"] or ""
    return _amount(fraction["done"], fraction["done_unit"] or unit), _amount(fraction["total"], unit)


def _amount(number: str, unit: str) -> float:
    amount = float(number.replace(",", ""))
    if not unit:
        return amount
    base = 1024.0 if "i" in unit else 1000.0
    return amount * base ** _UNIT_EXPONENT[unit[:1].lower()]


_PREFIX = r"(?:(?:\[[^\]]{0,40}\]|\d[\d:.,TZ+/-]*|(?:DEBUG|INFO|NOTICE|WARN|WARNING|ERROR):?|\#\d+|[-|])\s+){0,4}"
_NUMBERS = r"(?P<index>\d{1,7})\s*(?:/|\bof\b)\s*(?P<total>\d{1,7})(?![\w%/-]|[.,:]\d)"
_WORDED = re.compile(
    rf"^(?! {{4}})\W{{0,4}}{_PREFIX}(?P<label>(?:\w+ing\s+)?(?P<word>{_PARTS})\s*[:\#]?\s*{_NUMBERS})(?P<rest>.*)$",
    re.IGNORECASE,
)
# Beside a bar, any verb numbers parts: `Installing 1/3 ████ 42%`.
_WORDED_LABEL = re.compile(_WORDED.pattern.replace("(?P<word>", r"(?P<word>\w{3,}ing|", 1), re.IGNORECASE)
_BRACKETED_ORDINAL = re.compile(rf"^\s*(?:\#\d+\s+)?[\[(]\s*{_NUMBERS}\s*[\])](?P<rest>.*)$")
_COUNTED = re.compile(
    rf"^\s*{_PREFIX}{_NUMBERS}\s+(?P<outcome>START|RUN|OK|PASS|DONE|SUCCESS|ERROR|FAIL|SKIP|WARN|NO-OP|REUSED)\b(?P<rest>.*)$"
)
_STATUS_TAIL = re.compile(r"\s*\.{3,}.*$|\s*\[[^\]]*\]\s*$")
_LEADING_VERB = re.compile(r"^(?:created|creating|loaded|loading|snapshotted|executed|[0-9]+)\s+")


class Outcome(Enum):
    """State of the part that a heading numbers."""

    UNDER_WAY = "under way"
    """The part is in progress, as in `Epoch 2/10`."""
    BEGUN = "begun"
    """The part has begun; other parts may run at the same time."""
    FINISHED = "finished"
    """The part has ended, successfully or not."""


@dataclass(frozen=True, slots=True)
class Ordinal:
    """A heading with the number of a part and the number of parts."""

    kind: str
    """Kind of numbering: the word of the heading, `[` for a bracketed number, `of` for counted results."""
    index: int
    """Number of the part, from 1."""
    total: int
    """Number of parts."""
    label: str
    """Name of the part."""
    outcome: Outcome
    """State of the part."""


def read_ordinal(text: str, *, beside_bar: bool = False) -> Ordinal | None:
    """Return the heading on a line, or the label of a bar; None if the text is not a heading.

    A heading counts immediately, so its form is strict: it starts the line (after timestamps and log levels) and has a
    word that numbers parts, or brackets, or a result in capitals as dbt writes it.
    """
    counted = _COUNTED.match(text)
    if counted is not None:
        outcome = Outcome.BEGUN if counted["outcome"] in ("START", "RUN") else Outcome.FINISHED
        label = _LEADING_VERB.sub("", _STATUS_TAIL.sub("", counted["rest"]).strip())
        return _ordinal("of", counted, clean_label(label), outcome)
    worded = (_WORDED_LABEL if beside_bar else _WORDED).match(text)
    if worded is not None:
        label = worded["label"] + (worded["rest"] if worded["rest"].lstrip().startswith(":") else "")
        return _ordinal(worded["word"].lower(), worded, cut(clean_message(label), MAX_LABEL), Outcome.UNDER_WAY)
    bracketed = _BRACKETED_ORDINAL.match(text)
    # A number in brackets alone is a counter at the end of a wrapped line, or a date.
    if bracketed is not None and any(map(str.isalpha, bracketed["rest"])):
        return _ordinal("[", bracketed, clean_label(bracketed["rest"]), Outcome.UNDER_WAY)
    return None


def _ordinal(kind: str, found: re.Match[str], label: str, outcome: Outcome) -> Ordinal | None:
    index, total = int(found["index"]), int(found["total"])
    if not 1 <= index <= total or total < 2:
        return None
    return Ordinal(kind, index, total, label or f"{index}/{total}", outcome)
