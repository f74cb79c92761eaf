"""Growth as proof: a number in a log that might be progress is believed once it has risen like progress."""

import re

from tidings.cli.run.gauge import Gauge
from tidings.cli.run.message import clean_message

# On a display, or beside a drawn bar, one rise tells enough; a log needs three rising lines of one form.
RISES_ON_DISPLAY = 1
RISES_IN_LOG = 2
# Forms of line remembered; the one seen longest ago is forgotten first.
_MAX_SHAPES = 64
_DIGITS = re.compile(r"\d[\d.,]*")


class Evidence:
    """The values last seen on lines of one form, with how often they rose.

    A table of results (`95%` per file) fails because its lines differ in more than digits or its values fall; a
    sentence fails because it stands alone. A form that was believed stays believed: its next fall is a new step.
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[float, int]] = {}

    def confirms(self, text: str, gauge: Gauge, *, redrawn: bool) -> bool:
        """Take note of an uncertain gauge and tell whether its growth has shown it to be progress."""
        needed = RISES_ON_DISPLAY if redrawn or gauge.drawn else RISES_IN_LOG
        shape = _shape(text, gauge)
        value = gauge.percent if gauge.done is None else gauge.done
        last, rises = self._seen.pop(shape, (value, 0))
        if rises < needed:
            if value > last:
                rises += 1
            elif value < last:
                rises = 0
        self._seen[shape] = (value, rises)
        if len(self._seen) > _MAX_SHAPES:
            del self._seen[next(iter(self._seen))]
        return rises >= needed


def _shape(text: str, gauge: Gauge) -> str:
    """Return what lines of the same counter have in common."""
    if gauge.total is not None:
        # The rest of a counter's line may name the item, which changes each time.
        return f"{gauge.total}/{gauge.label.partition(' ')[0]}"
    return _DIGITS.sub("0", clean_message(text))
