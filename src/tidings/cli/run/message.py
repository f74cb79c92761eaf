"""What a person is shown of a line of output: without bars, spinners and rules, and short."""

import re

# A message is one line on a screen; 200 characters are more than most terminals are wide.
MAX_MESSAGE = 200
# A step's name stands beside a bar.
MAX_LABEL = 80

# Blocks, box lines, squares and braille: what bars and spinners are drawn with.
_GRAPHICS = "\u2500-\u257f\u2580-\u259f\u25a0-\u25a3\u25aa-\u25af\u25b0\u25b1\u25cf\u25cb\u2800-\u28ff"
BAR = re.compile(
    rf"""
      \|[ \#{_GRAPHICS}0-9]{{3,}}\|                      # tqdm, its ASCII form included
    | [{_GRAPHICS}]{{4,}}(?:[ ]?[{_GRAPHICS}])*          # rich, pip, Keras 3
    | [\[(|](?=[^\]\[|)]*[=\#>.*\-]{{3}})[=\#>.*\-\ o]{{5,}}[\])|]   # [====>....], [##### ]
    """,
    re.VERBOSE,
)
_LONE_GRAPHICS = re.compile(f"[{_GRAPHICS}]+")
_RULE = re.compile(r"^[=\-_*#~+\s]{3,}|[=\-_*#~+\s]{3,}$")
_SPACE = re.compile(r"\s+")
_SEPARATORS = " \t:|-–—=>.,;#*"


def cut(text: str, limit: int) -> str:
    """Return `text`, at most `limit` characters long, with an ellipsis where it was cut."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def clean_message(line: str) -> str:
    """Return the words of a line, without bar graphics and rules; empty where it has none."""
    text = _LONE_GRAPHICS.sub(" ", BAR.sub(" ", line))
    text = _SPACE.sub(" ", _RULE.sub(" ", text)).strip()
    return cut(text, MAX_MESSAGE) if any(map(str.isalnum, text)) else ""


def clean_label(text: str) -> str:
    """Return the name of a step out of what stands beside its bar; empty where that is no name."""
    text = _SPACE.sub(" ", _LONE_GRAPHICS.sub(" ", BAR.sub(" ", text))).strip(_SEPARATORS)
    for opening, closing in ("[]", "()"):
        if text.count(opening) != text.count(closing):
            text = text.strip(opening + closing + _SEPARATORS)
    return cut(text, MAX_LABEL) if any(map(str.isalpha, text)) else ""
