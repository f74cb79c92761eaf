import pytest

from tidings.log.epochs import Epoch, Epochs
from tidings.protocol.positions import Position

EPOCHS = Epochs([Epoch("first", 0), Epoch("second", 10), Epoch("third", 10), Epoch("fourth", 25)])


def test_current_epoch_is_the_newest() -> None:
    assert EPOCHS.current == Epoch("fourth", 25)


@pytest.mark.parametrize(
    ("offset", "name"), [(0, "first"), (1, "first"), (10, "first"), (11, "third"), (25, "third"), (26, "fourth")]
)
def test_position_has_the_epoch_that_wrote_it(offset: int, name: str) -> None:
    assert EPOCHS.position(offset) == Position(name, offset)
    assert EPOCHS.resolve(Position(name, offset)) == offset


@pytest.mark.parametrize(
    ("position", "offset"),
    [
        (Position("first", 10), 10),
        (Position("first", 11), None),  # its reader saw an event that was lost
        (Position("second", 10), 10),
        (Position("second", 11), None),
        (Position("third", 3), 3),  # the position of a reader whose paths had no events for long
        (Position("third", 26), None),
        (Position("fourth", 999), 999),  # beyond the head: the caller waits
        (Position("another", 1), None),
    ],
)
def test_position_resumes_only_if_its_events_are_in_the_log(position: Position, offset: int | None) -> None:
    assert EPOCHS.resolve(position) == offset
