"""Names for other languages, made of the contract's own, and no two alike."""

import re
from collections.abc import Iterable

_NO_WORD = re.compile(r"[^A-Za-z0-9]+")


def pascal(text: str) -> str:
    """Return `operation:cancel_outcome` as `OperationCancelOutcome`; what is capital stays so."""
    name = "".join(word[:1].upper() + word[1:] for word in _NO_WORD.split(text) if word)
    return name if name[:1].isalpha() else f"N{name}"


def constant(text: str) -> str:
    """Return `operation:start` as `OPERATION_START`."""
    name = "_".join(word.upper() for word in _NO_WORD.split(text) if word)
    return name if name[:1].isalpha() else f"N{name}"


def class_name(definition: str) -> str:
    """Return the class's own name of a definition's, which may have the module's before it."""
    return pascal(definition.rpartition(".")[2])


class Namer:
    """Gives out names, each once.

    Args:
        taken: Names that it never gives.
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)

    def take(self, wanted: str) -> str:
        """Return `wanted`, with a number behind it where somebody has it already."""
        name, number = wanted, 2
        while name in self._taken:
            name, number = f"{wanted}{number}", number + 1
        self._taken.add(name)
        return name
