"""Lines of known programs: the meaning of their numbers, where the general rules of `patterns` cannot see it.

A program needs a form here only if the general rules misread it, as the recordings in `tests/cli/run/corpus` show:
because its numbers look like a log, count a part and not the whole, or measure something else. The first form that
matches a line decides. Groups of the patterns:

* `percent`, or `done` and `total` (plain numbers, sizes such as `1.2 MiB`, or times such as `00:01:30`): the share.
* `index` and `parts`: the number of the part under way; the share then counts within it.
* `label`: the name of the part.
"""

import re
from dataclasses import dataclass
from enum import Enum
from functools import cache


class Meaning(Enum):
    """Meaning of the numbers on a line."""

    WHOLE = "whole"
    """Progress of the whole run of the program."""
    FILE = "file"
    """Progress of one file if a line with its name is above, else of the whole."""
    PART = "part"
    """Progress of one file, package or phase of many: never the whole."""
    TOTAL = "total"
    """The total that later lines of this program leave out."""
    NOTHING = "nothing"
    """Something other than progress."""


@dataclass(frozen=True, slots=True)
class LineForm:
    """One form of line."""

    program: str
    """Program that prints it; forms of one program describe one run."""
    meaning: Meaning
    """Meaning of its numbers."""
    pattern: str
    """Regular expression, matched at the beginning of the line after spaces."""
    sign: str = ""
    """Expression found in every such line, if it has neither a percentage nor `n/m` nor `n of m`; a digit is before
    it."""


_SIZE = r"[\d.,]+ ?[kKMGTP]?i?B?(?:ytes)?"
_TIME = r"\d+:\d\d:\d\d(?:\.\d+)?"
_CLOCK = r":\d\d:\d\d\."
_PERCENT = r"(?P<percent>\d{1,3}(?:\.\d+)?) ?%"

FORMS = (
    # Packages
    LineForm(
        "apt", Meaning.NOTHING, r"\(?(?:Reading (?:package lists|database|state information)|Building dependency tree)"
    ),
    LineForm("apt", Meaning.WHOLE, rf"Progress: \[ *{_PERCENT}\]"),
    LineForm(
        "dnf",
        Meaning.WHOLE,
        r"\[ *(?P<index>\d+)/(?P<parts>\d+)\] (?P<label>(?:Verify package|Prepare transaction|Installing|Upgrading"
        rf"|Removing|Reinstalling|Downgrading|Replacing|Running|Erasing|Cleanup)\b.*?) +{_PERCENT} \|",
    ),
    LineForm("dnf", Meaning.PART, rf"\[ *\d+/\d+\] (?P<label>\S+) +{_PERCENT} \|"),
    LineForm(
        "pacman",
        Meaning.WHOLE,
        r"\( *(?P<index>\d+)/(?P<parts>\d+)\) (?P<label>(?:installing|upgrading|reinstalling|downgrading|removing) \S+)"
        rf" +\[.*\] +{_PERCENT}",
    ),
    LineForm("pacman", Meaning.PART, rf"\( *\d+/\d+\) (?P<label>[a-z ]+?) +\[.*\] +{_PERCENT}"),
    LineForm("pacman", Meaning.NOTHING, r"\( *\d+/\d+\) [A-Z][\w ]+\.\.\.$"),
    LineForm("pip", Meaning.PART, rf"(?P<label>)[━╸╺ ]{{20,}} (?:(?P<done>{_SIZE})/(?P<total>{_SIZE}) |\d+/\d+ \[)"),
    LineForm("uv", Meaning.NOTHING, r"\S (?:Resolving|Preparing|Building|Installing)\b.*\.\.\.|[░█]+ \[\d+/\d+\]"),
    LineForm("uv", Meaning.PART, rf"(?P<label>[\w.-]+) +-{{2,30}} *(?P<done>{_SIZE})/(?P<total>{_SIZE})"),
    LineForm(
        "git", Meaning.PART, rf"(?:remote: )?(?P<label>[A-Z][a-z]+ (?:objects|deltas|files|content)): +{_PERCENT} \("
    ),
    LineForm("docker", Meaning.PART, rf"(?P<label>[0-9a-f]{{12}}): \w+.*?(?P<done>{_SIZE})/(?P<total>{_SIZE})"),
    LineForm("docker", Meaning.PART, rf"\#\d+ (?P<label>sha256:\w+) (?P<done>{_SIZE}) / (?P<total>{_SIZE})"),
    # Test runners and builds
    LineForm("pytest", Meaning.WHOLE, rf"(?:(?:\S+\.py|\S+::\S+|\[gw\d+\]).*|[.FEsxXp]+ *)\[ *{_PERCENT}\]$"),
    LineForm("pytest", Meaning.NOTHING, r"(?:created|ready|collecting|initialized|scheduling tests): \d+/\d+ workers?"),
    LineForm("nextest", Meaning.WHOLE, r"[A-Z]+ \[[ \d.]+s\] \( *(?P<done>\d+)/(?P<total>\d+)\) "),
    LineForm("ctest", Meaning.WHOLE, r"(?P<done>\d+)/(?P<total>\d+) Test +\#"),
    LineForm("PHPUnit", Meaning.WHOLE, rf"[.A-Z]* *\d+ / \d+ \( *{_PERCENT}\)$"),
    LineForm("go test", Meaning.NOTHING, r"(?:ok|---|FAIL|PASS)\s.*coverage: "),
    LineForm(
        "ninja",
        Meaning.WHOLE,
        r"\[(?P<done>\d+)/(?P<total>\d+)\] (?P<label>(?:(?:Building|Linking) (?:static )?(?:C|CXX|ASM|Fortran|target)\b"
        r"|Compiling \S+ object|cc|gcc|clang|c\+\+|g\+\+|clang\+\+|CC|CXX|AR|LINK)\b.*)",
    ),
    LineForm("maven", Meaning.WHOLE, r"\[INFO\] Building (?P<label>.+?) +\[(?P<index>\d+)/(?P<parts>\d+)\]$"),
    LineForm("webpack", Meaning.WHOLE, rf"(?:<s> )?\[webpack\.Progress\] {_PERCENT}"),
    # Copies and downloads
    LineForm("rsync", Meaning.FILE, rf"[\d.,]+[kKMGTP]? +{_PERCENT} +\S+[kKMGTP]?B/s +\d+:\d\d:\d\d"),
    LineForm(
        "rclone",
        Meaning.WHOLE,
        rf"(?:\* .+)?Transferred: +(?P<done>[\d.]+ ?\w*B(?:ytes)?) / (?P<total>{_SIZE}), {_PERCENT}",
    ),
    LineForm(
        "rclone", Meaning.WHOLE, rf"(?:\S+ \S+ INFO +: +)?[\d.]+ [KMGTP]?i?B / {_SIZE}, {_PERCENT}, \S+ \S+/s, ETA"
    ),
    LineForm("rclone", Meaning.NOTHING, r"Transferred: +\d+ / \d+, |Checks: |Deleted: |\* .+: *\d+% ?/"),
    LineForm(
        "curl",
        Meaning.WHOLE,
        r"(?P<percent>\d{1,3})(?: +[\d.]+[kMGTP]? +\d{1,3}){2}(?: +[\d.]+[kMGTP]?){3}"
        r" +(?:\d+:|--:)[\d-]{2}:[\d-]{2} ",
        "     0 ",
    ),
    LineForm("aria2", Meaning.WHOLE, rf"\[#\w+ (?P<done>{_SIZE})/(?P<total>{_SIZE})\(\d+%\)"),
    # Files and disks
    LineForm("restic", Meaning.WHOLE, rf"\[\d+:\d\d(?::\d\d)?\] {_PERCENT}  "),
    LineForm(
        "mke2fs",
        Meaning.PART,
        r"(?P<label>Allocating group tables|Writing [a-z ]+|Creating journal)\b.*: +(?P<done>\d+)/(?P<total>\d+)",
    ),
    LineForm("e2fsck", Meaning.NOTHING, r"\S+: \d+/\d+ files \("),
    LineForm(
        "shred",
        Meaning.WHOLE,
        rf"shred: (?P<label>.+): pass (?P<index>\d+)/(?P<parts>\d+) \(\w+\)\.\.\.(?:{_SIZE}/{_SIZE} {_PERCENT})?",
    ),
    LineForm("squashfs", Meaning.NOTHING, r"\s*\d+\.\d+% of uncompressed"),
    # Media
    LineForm("HandBrake", Meaning.PART, rf"(?P<label>Scanning title) \d+ of \d+, preview \d+, {_PERCENT}"),
    LineForm("HandBrake", Meaning.WHOLE, rf"Encoding: task (?P<index>\d+) of (?P<parts>\d+), {_PERCENT}"),
    LineForm("ffmpeg", Meaning.TOTAL, rf"Duration: (?P<total>{_TIME}), start", _CLOCK),
    LineForm("ffmpeg", Meaning.WHOLE, rf"(?:frame= *\d+ .*?|size= .*?)time=(?P<done>{_TIME}) bitrate=", _CLOCK),
    # Training, load and passwords
    LineForm("torch", Meaning.PART, rf"(?P<label>(?:Train )?Epoch: ?\d+)\s+\[\d+/\d+ \( *{_PERCENT}\)\]"),
    LineForm("hashcat", Meaning.WHOLE, rf"Progress\.+: \d+/\d+ \({_PERCENT}\)"),
    LineForm("hashcat", Meaning.NOTHING, r"(?:Guess|Recovered|Rejected|Restore|Candidate|Hardware)[\w.#]*\.*: "),
)


@dataclass(frozen=True, slots=True)
class KnownLine:
    """Statement of one line of a known program."""

    form: LineForm
    """Form that matched."""
    percent: float | None
    """Share of the whole, or of the part; None if the line has none or its total is missing."""
    total_s: float | None
    """Total of a TOTAL form."""
    label: str
    """Name of the part; may be empty."""
    parts: int
    """Number of parts; 0 if the line does not number them."""


SIGNS = "|".join(sorted({form.sign for form in FORMS if form.sign}))
"""Expression for the lines of known programs that the quick test of `patterns` would reject."""
_GROUP = re.compile(r"\?P<\w+>")
# One expression without groups tests all forms at a time; nearly every line fails here.
_ANY = re.compile("|".join(_GROUP.sub("?:", form.pattern) for form in FORMS))
_UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_AMOUNT = re.compile(r"([\d.,]+) ?([kKMGTP]?)(i?)")


# The others are compiled when they are needed: they would take longer than everything else at the start of a run.
@cache
def _any_by_form() -> re.Pattern[str]:
    """Return the same expression with a group for each form, in their order."""
    return re.compile("|".join(f"({_GROUP.sub('?:', form.pattern)})" for form in FORMS))


@cache
def _pattern_of(form: LineForm) -> re.Pattern[str]:
    return re.compile(form.pattern)


def read_known(text: str, total: float | None) -> KnownLine | None:
    """Return what a line states if it has the form of a known program.

    Args:
        text: The line.
        total: Total that an earlier line stated, for forms that leave it out.
    """
    text = text.lstrip()
    if _ANY.match(text) is None:
        return None
    which = _any_by_form().match(text)
    assert which is not None
    assert which.lastindex is not None
    form = FORMS[which.lastindex - 1]
    found = _pattern_of(form).match(text)
    assert found is not None
    groups = {name: value for name, value in found.groupdict().items() if value is not None}
    whole = _amount(groups["total"]) if "total" in groups else total
    percent: float | None = None
    if "percent" in groups:
        percent = float(groups["percent"])
    elif "done" in groups and whole:
        percent = 100.0 * _amount(groups["done"]) / whole
    if "index" in groups:
        percent = (100.0 * (int(groups["index"]) - 1) + (percent or 0.0)) / max(1, int(groups["parts"]))
    if percent is not None:
        percent = min(100.0, percent)
    return KnownLine(
        form,
        percent,
        whole if form.meaning is Meaning.TOTAL else None,
        groups.get("label", ""),
        int(groups.get("parts", 0)),
    )


def _amount(text: str) -> float:
    if ":" in text:
        hours, minutes, seconds = text.split(":")
        return 3600.0 * int(hours) + 60.0 * int(minutes) + float(seconds)
    found = _AMOUNT.match(text)
    if found is None:
        return 0.0
    number = found[1].rstrip(".").replace(",", "")
    return float(number or 0) * (1024.0 if found[3] else 1000.0) ** _UNITS[found[2].lower()]
