import pytest

from tidings.cli.run.reader.forms import FORMS, Meaning, read_known
from tidings.cli.run.reader.patterns import may_hold_progress, read_ordinal, read_progress


@pytest.mark.parametrize(
    ("line", "meaning", "percent"),
    [
        ("a.py::test_b PASSED                   [ 25%]", Meaning.WHOLE, 25.0),
        ("[3/12] Building CXX object a.o", Meaning.WHOLE, 25.0),
        ("[3/6] Installing alpha-1.0   50% |  1.0 KiB/s", Meaning.WHOLE, 100 * 2.5 / 6),
        ("[3/6] alpha-1.0   50% |  1.0 KiB/s", Meaning.PART, 50.0),
        ("Transferred:   1 MiB / 4 MiB, 25%, 1 MiB/s, ETA 3s", Meaning.WHOLE, 25.0),
        ("Transferred:   1 / 4, 25%", Meaning.NOTHING, None),
        (" 29 2929k   29  864k    0     0  1342k      0  0:00:02 --:--:--  0:00:02 1341k", Meaning.WHOLE, 29.0),
        ("Receiving objects:  42% (420/1000)", Meaning.PART, 42.0),
        ("(Reading database ... 65%", Meaning.NOTHING, None),
        ("a2abf6c4d29d: Downloading [==>   ]  1.5MB/3.0MB", Meaning.PART, 50.0),
    ],
)
def test_line_of_a_known_program_has_its_meaning(line: str, meaning: Meaning, percent: float | None) -> None:
    known = read_known(line, None)
    assert known is not None
    assert known.form.meaning is meaning
    assert known.percent == pytest.approx(percent) if percent is not None else known.percent is None
    assert may_hold_progress(line)


def test_total_of_an_earlier_line_completes_a_later_one() -> None:
    total = read_known("  Duration: 00:01:00.00, start: 0.0", None)
    assert total is not None
    later = read_known("frame=  37 fps=0.0 size= 0kB time=00:00:15.00 bitrate=N/A", total.total_s)
    assert later is not None
    assert later.percent == 25.0


def test_every_form_names_a_program_and_compiles() -> None:
    assert all(form.program and form.pattern for form in FORMS)


@pytest.mark.parametrize("piece", [" ", "1 ", "1/2 ", "[", "a.py ", "5% ", "=", "1 MiB / ", "#", "[ 5%] ", "| "])
def test_long_line_of_one_piece_is_read_before_the_timeout(piece: str) -> None:
    line = (piece * 2048)[:2048]
    for text in (line, f"{line}x", f"5% {line}", f"[1/2] {line}"):
        read_known(text, 1.0)
        read_ordinal(text)
        read_progress(text, redrawn=False)
    assert read_known(f"{line}\x00", None) is None
