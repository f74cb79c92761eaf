"""How far a whole run is, as far as the shares of its steps say it."""

from tidings.cli.run.output import Reading


class Course:
    """What may be told of the whole: a share that never falls, or that nobody knows.

    The first step's share is the whole's: most commands draw one bar. Once a second begins, and nobody says how many
    there will be, its share says nothing of the whole any more. Parts that are numbered do, from where they are further
    than what was told; so do they after a bar that came before them, but not when they begin again.
    """

    def __init__(self) -> None:
        self._step = 0
        self._told = 0.0
        self._speaks = False
        self._numbered = False

    def percent_of(self, reading: Reading) -> float | None:
        """Return the share of the whole that is done, 0-100, or None where nobody knows; call it for each reading."""
        numbered = reading.total_steps > 0
        if reading.step != self._step:
            self._speaks = reading.step == 1 or (numbered and not self._numbered)
            self._step = reading.step
            self._numbered = self._numbered or numbered
        if reading.percent is None or not self._speaks or reading.percent < self._told:
            return None
        self._told = reading.percent
        return self._told
