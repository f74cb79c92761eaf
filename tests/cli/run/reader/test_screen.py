from itertools import count

from tidings.cli.run.reader.screen import (
    MAX_COLUMNS,
    MAX_ROWS,
    Announcement,
    CursorRise,
    ScreenEvent,
    ScreenLine,
    TerminalScreen,
)


def new_screen() -> TerminalScreen:
    return TerminalScreen(count(1).__next__)


def events(text: str) -> list[ScreenEvent]:
    screen = new_screen()
    return [*screen.feed(text), *screen.settle()]


def texts(text: str) -> list[str]:
    return [event.text for event in events(text) if isinstance(event, ScreenLine)]


def shown(text: str) -> list[str]:
    screen = new_screen()
    for _ in screen.feed(text):
        pass
    return [row for _, row in screen.rows_in_order()]


def test_log_lines_are_reported_when_they_end() -> None:
    assert events("one\r\ntwo\nthree") == [
        ScreenLine(0, "one", redrawn=False),
        ScreenLine(1, "two", redrawn=False),
        ScreenLine(2, "three", redrawn=False, unfinished=True),
    ]


def test_overdrawn_row_is_reported_each_time() -> None:
    assert events("\r 1%\r 2%\r 3%\n") == [
        ScreenLine(0, " 1%", redrawn=True),
        ScreenLine(0, " 2%", redrawn=True),
        ScreenLine(0, " 3%", redrawn=True),
    ]


def test_colours_do_not_split_a_row() -> None:
    assert texts("\r\x1b[1mab\x1b[0mcd\r\x1b[1mef\x1b[0mgh") == ["abcd", "efgh"]


def test_backspaces_draw_over_the_row() -> None:
    assert texts("10%\b\b\b20%\b\b\b30%") == ["10%", "20%", "30%"]


def test_overstrike_does_not_split_the_word() -> None:
    assert texts("N\bNA\bAM\bME\bE\n") == ["NAME"]


def test_shorter_drawing_keeps_the_rest_unless_erased() -> None:
    assert shown("\rlong text\rxx") == ["xxng text"]
    assert shown("\rlong text\r\x1b[Kxx") == ["xx"]
    assert shown("\rlong text\rxx\x1b[K") == ["xx"]
    assert shown("\rlong text\x1b[2K\rxx") == ["xx"]
    assert shown("\rlong text\r\x1b[4C\x1b[1K") == ["     text"]


def test_erased_and_redrawn_row_is_a_display() -> None:
    assert events("\r\x1b[2K10%\r\x1b[2K20%\n") == [
        ScreenLine(0, "10%", redrawn=True),
        ScreenLine(0, "20%", redrawn=True),
    ]


def test_cursor_rise_comes_before_the_row_that_is_left() -> None:
    assert events("outer\n\rinner\x1b[A") == [
        ScreenLine(0, "outer", redrawn=False),
        CursorRise(0, 1),
        ScreenLine(1, "inner", redrawn=True),
    ]


def test_cursor_stops_at_the_first_row() -> None:
    assert shown("a\n\x1b[99Ab") == ["b"]


def test_saved_cursor_returns_from_the_bottom_row() -> None:
    # As apt draws its bar, below the region that scrolls.
    assert events("Unpacking a\n\x1b7\x1b[24;0f\x1b[42mProgress: [ 42%]\x1b[0m\x1b8Unpacking b\n") == [
        ScreenLine(0, "Unpacking a", redrawn=False),
        ScreenLine(-1_000_000 + 23, "Progress: [ 42%]", redrawn=True),
        ScreenLine(1, "Unpacking b", redrawn=False),
    ]


def test_absolute_columns_and_tabs_move_the_cursor() -> None:
    assert shown("a\tb\x1b[4Gc\x1b[20Gd") == ["a  c    b          d"]


def test_full_screen_programs_are_ignored() -> None:
    assert shown("before\n\x1b[?1049h\x1b[2J\x1b[H42% ~\n\x1b[?1049lafter") == ["before", "after"]


def test_clearing_the_screen_removes_its_rows() -> None:
    assert shown("a\nb\n\x1b[2J\x1b[Hc") == ["c"]
    assert shown("a\nb\nc\x1b[2A\r\x1b[Jd") == ["d"]


def test_announcement_is_reported() -> None:
    announced = "\x1b]9;4;1;42\x07\x1b]9;4;3\x07\x1b]9;4;0;\x07\x1b]9;4;1;999\x07\x1b]0;42\x07"
    assert events(announced) == [
        Announcement(42.0),
        Announcement(None),
        Announcement(None),
        Announcement(100.0),
    ]


def test_memory_is_bounded() -> None:
    rows = shown("x" * 1_000_000 + "\n" + "\n".join(f"line {number}" for number in range(10_000)))
    assert len(rows) == MAX_ROWS
    assert rows[-1] == "line 9999"
    assert [len(row) for row in shown("x" * 1_000_000)] == [MAX_COLUMNS]


def test_skipped_bytes_begin_a_new_line() -> None:
    screen = new_screen()
    assert list(screen.feed("half a li\x1b[")) == []
    screen.break_off()
    assert list(screen.feed("whole line\n")) == [ScreenLine(1, "whole line", redrawn=False)]
