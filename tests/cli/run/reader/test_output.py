from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.cli.run.corpus.recording import load
from tests.cli.run.recordings import NAMES, replay, story

from tidings.cli.run.reader.output import MAX_TAIL_BYTES, MAX_TAIL_LINES, CommandProgress, OutputReader, Source
from tidings.cli.run.reader.worker import OverallProgress


def read(*pieces: bytes, settled: bool = False) -> list[CommandProgress]:
    """Return every change in output fed in pieces; `settled` reads each piece's unfinished line too."""
    reader = OutputReader(lambda: 0.0, interval_s=0)
    readings: list[CommandProgress] = []
    for piece in pieces:
        readings.extend(reader.feed(piece))
        if settled:
            readings.extend(reader.settle())
    return [*readings, *reader.finish()]


def percentages(*lines: str) -> list[float | None]:
    """Return the percentage after each line of a log that changed anything."""
    return [reading.percent for reading in read("".join(f"{line}\n" for line in lines).encode())]


# What each program told, on a terminal and through pipes: (step, steps in all, percentages).
KERAS2_EPOCHS = [
    ("Epoch 1/3", 3, 0.0, 33.0),
    ("Epoch 2/3", 3, 33.3, 66.3),
    ("Epoch 3/3", 3, 66.7, 99.0),
]
QUARTERS: list[float | None] = [0.0, 25.0, 50.0, 75.0, 99.0]


@pytest.mark.parametrize("way", ["pty", "pipe"])
class TestRecordingsOnATerminalAndThroughPipes:
    def test_pytest_recording_fills_one_unnamed_step(self, way: str) -> None:
        assert story(f"pytest.{way}") == [("", 0, [25.0, 50.0, 75.0, 99.0])]
        assert replay(f"pytest.{way}")[-1].message.startswith("1 failed, 23 passed in ")

    def test_tqdm_recording_fills_one_named_step(self, way: str) -> None:
        ((step, total, values),) = story(f"tqdm.{way}")
        assert (step, total, values[0], values[-1]) == ("Resizing", 0, 0.0, 99.0)
        assert len(values) >= 10

    def test_nested_tqdm_recording_follows_the_outer_loop(self, way: str) -> None:
        assert story(f"tqdm-nested.{way}") == [("Epochs", 0, QUARTERS)]

    def test_outer_bar_leads_although_inner_bars_end_above_it(self, way: str) -> None:
        ((step, total, values),) = story(f"huggingface-download.{way}")
        assert (step, total, values) == ("Fetching 5 files", 0, [0.0, 20.0, 40.0, 60.0, 80.0, 99.0])

    def test_restarted_tqdm_bar_is_the_next_step(self, way: str) -> None:
        told = story(f"tqdm-restarting.{way}")
        assert [step for step, _, _ in told] == ["", "step 2", "step 3", "train", "validate", "train (2)"]
        assert {values[-1] for _, _, values in told} == {99.0}

    def test_rsync_recording_shows_progress_of_the_tree(self, way: str) -> None:
        ((step, total, values),) = story(f"rsync-progress2.{way}")
        assert (step, total) == ("", 0)
        assert values[0] == 0.0
        assert values[-1] == 99.0
        assert len(values) >= 5

    def test_rsync_files_are_steps_without_a_percentage(self, way: str) -> None:
        assert story(f"rsync-partial.{way}") == [
            (name, 0, [None]) for name in ("dump.sql", "images.tar", "notes.txt", "readme.md")
        ]

    def test_dbt_results_are_counted_as_they_arrive(self, way: str) -> None:
        assert story(f"dbt.{way}") == [
            ("sql table model dbt_prod.stg_customers", 6, [0.0]),
            ("sql table model dbt_prod.stg_orders", 6, [0.0]),
            ("sql table model dbt_prod.stg_payments", 6, [0.0, 16.7]),
            ("sql table model dbt_prod.int_orders", 6, [16.7, 33.3, 50.0, 66.7]),
            ("sql table model dbt_prod.customers", 6, [66.7, 83.3, 99.0]),
        ]

    def test_keras_2_epochs_are_parts_of_the_whole(self, way: str) -> None:
        told = story(f"keras-2.{way}")
        assert [(step, total, values[0], values[-1]) for step, total, values in told] == KERAS2_EPOCHS
        assert all(len(values) == 21 for _, _, values in told)

    def test_keras_3_epochs_are_parts_of_the_whole(self, way: str) -> None:
        told = story(f"keras-3.{way}")
        assert [(step, total, values[0], values[-1]) for step, total, values in told] == [
            ("Epoch 1/3", 3, 0.0, 33.0),
            ("Epoch 2/3", 3, 33.3, 66.3),
            ("Epoch 3/3", 3, 66.7, 99.0),
        ]


def test_first_rich_task_leads_despite_log_lines_above() -> None:
    ((step, total, values),) = story("rich.pty")
    assert (step, total) == ("Migrating", 0)
    assert values[0] == 0.0
    assert values[-1] == 99.0
    assert len(values) >= 10


def test_rich_in_a_pipe_prints_only_finished_tasks() -> None:
    assert story("rich.pipe") == []


def test_pip_packages_are_steps_named_by_the_line_above() -> None:
    assert story("pip.pty") == [
        ("Downloading alpha-1.0-py3-none-any.whl (3.0 MB)", 0, [None]),
        ("Downloading gamma-1.0-py3-none-any.whl (2.4 MB)", 0, [None]),
        ("Installing collected packages: gamma, beta, alpha", 0, [None]),
    ]
    assert replay("pip.pty")[-1].message == "Successfully installed alpha-1.0 beta-1.0 gamma-1.0"


def test_pip_in_a_pipe_shows_no_percentage() -> None:
    assert {reading.percent for reading in replay("pip.pipe")} == {None}


@pytest.mark.parametrize("name", NAMES)
def test_recordings_never_reach_100_nor_fall_within_a_step(name: str) -> None:
    check_percentages(replay(name))


@pytest.mark.parametrize("name", NAMES)
def test_real_time_recording_gives_at_most_ten_readings_a_second(name: str) -> None:
    readings = replay(name, interval_s=0.1)
    assert len(readings) <= 10 * load(name).end_s + 2
    assert readings[-1] == replay(name)[-1]


def check_percentages(readings: Iterable[CommandProgress]) -> None:
    peaks: dict[int, float] = defaultdict(float)
    for reading in readings:
        if reading.percent is not None:
            assert peaks[reading.step] <= reading.percent <= 99.0
            peaks[reading.step] = reading.percent
        else:
            assert reading.step not in peaks


PIECES = [
    *(b"\r", b"\n", b"\r\n", b"\b", b"\b" * 9, b"\t", b"\x1b", b"\x1b[", b"\x1b]", b"\xff", b"\xe2\x94"),
    *(b"\x1b[A", b"\x1b[2A", b"\x1b[B", b"\x1b[K", b"\x1b[2K", b"\x1b[J", b"\x1b[H", b"\x1b[5;3H", b"\x1b[9G"),
    *(b"\x1b7", b"\x1b8", b"\x1b[31m", b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b]9;4;1;42\x07", b"\x1b]9;4;0\x1b\\"),
    *(" 42%|████▏     | 42/100".encode(), b" 99%", b"100%", b" 7%", b"[ 42%]", b"[ 50%]", b"5/10", b"6/10", b"7/10"),
    *(b"Epoch 2/10", b"Epoch 1/3", b"3 of 12 OK x", b"1 of 12 START y", b"[3/40] cc", b"abc", b"train:"),
    *("━━━━━━ 3.2/10.0 MB".encode(), "━━━━━━ 9.2/10.0 MB".encode(), b"[=====>.....] 3/9", "é".encode()),
    *(b"  1,024  42%  1.0MB/s 0:00:01", b"    100 100%  1.0MB/s 0:00:01"),
]
OUTPUT = st.one_of(
    st.binary(max_size=200),
    st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=3)), max_size=60).map(b"".join),
)


@settings(max_examples=300)
@given(OUTPUT, st.lists(st.integers(0, 400), max_size=30))
def test_readings_do_not_depend_on_chunk_boundaries(data: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[start:end] for start, end in pairwise(places)]
    assert read(*pieces) == read(data) == read(*(bytes([byte]) for byte in data))


@settings(max_examples=300)
@given(OUTPUT, st.lists(st.tuples(st.integers(0, 400), st.booleans(), st.sampled_from([0.0, 0.01, 0.1, 3600.0]))))
def test_last_reading_depends_neither_on_chunks_nor_on_time(data: bytes, cuts: list[tuple[int, bool, float]]) -> None:
    now = 0.0
    reader, overall = OutputReader(lambda: now), OverallProgress()
    readings: list[CommandProgress] = []
    places = sorted((min(place, len(data)), paused, passed_s) for place, paused, passed_s in cuts)
    for (start, _, _), (end, paused, passed_s) in pairwise([(0, False, 0.0), *places, (len(data), False, 0.0)]):
        now += passed_s
        readings.extend(reader.feed(data[start:end]))
        if paused:
            readings.extend(reader.settle())
    readings.extend(reader.finish())
    assert readings[-1:] == read(data)[-1:]
    reported = [percent for reading in readings if (percent := overall.percent_of(reading)) is not None]
    assert reported == sorted(reported)
    assert all(0 <= percent <= 99 for percent in reported)


@settings(max_examples=300)
@given(st.lists(OUTPUT, max_size=4))
def test_arbitrary_bytes_never_lower_the_percentage_of_a_step(pieces: list[bytes]) -> None:
    check_percentages(read(*pieces))


def test_coverage_tables_and_results_are_not_progress() -> None:
    table = (
        "src/a.py  120  6  95%",
        "src/b.py  80  0  100%",
        "TOTAL  200  6  97%",
        "Required coverage of 95% reached.",
    )
    assert set(
        percentages(*table, "2025/07/30 done", "cooked 1/2 cup", "100% of 12 tests", "python 3.11/3.12", "Stir 1/2 cup")
    ) == {None}


def test_rising_log_is_proven_at_its_third_line() -> None:
    assert percentages("cooking 10%", "cooking 20%", "cooking 30%", "cooking 40%") == [None, None, 30.0, 40.0]


def test_number_alone_in_its_line_needs_no_word() -> None:
    assert percentages("5%", "10%", "15%", "20%") == [None, None, 15.0, 20.0]
    assert percentages("1/20", "2/20", "3/20", "4/20") == [None, None, 15.0, 20.0]


LEVELS = (
    "{i}% {i}.25ms",
    "{i}% <= {i} milliseconds",
    "{i}% in 0.00{i} secs",
    "battery at {i}%",
    "brightness {i}%",
    "tank level: {i}%",
    "WARN disk at {i}%",
    "Q3 revenue growth {i}%",
    "candidate anna: {i}% of votes",
    "rain {i}%",
    "12:00:{i} signal strength: {i}%",
    "coupon 7: {i}% discount",
    "file.txt: compressed to {i}%",
    "adding: b.txt (deflated {i}%)",
    "copy f => g ({i}%)",
    "0 10 45 - {i}%",
    "y-axis {i}%",
    "{i}% {{ opacity: 0.4; }}",
    '{{"share": "{i}%"}}',
    "clients {i}/99",
    "players online: {i}/99",
    "slot {i} of 99 reserved",
    "anna: {i}/99 points",
    "student9: {i}/99",
    "gc: heap {i}M/99M",
    "core 0: {i}/99 C",
    "nodes ready {i}/99",
    "web-1 {i}/99 Running",
    "GET /articles?page={i}/99 200",
    "fetching page={i}/99",
    "{i}/99 = 0.25",
    "waiting for db... ({i}/99)",
    "Reconnecting... {i}/99",
    "Polling status ({i}/99): pending",
    "attempt {i} of 99 timed out",
    "seq {i}/99 rtt 4 ms",
)


@pytest.mark.parametrize("line", LEVELS)
def test_levels_that_rise_line_after_line_are_no_progress(line: str) -> None:
    assert set(percentages(*(line.format(i=number) for number in range(1, 100, 7)))) == {None}


def test_announced_progress_leads_all_bars() -> None:
    readings = read(b"\x1b]9;4;1;30\x07\r 50%|#####     | 5/10\r 60%|######    | 6/10\n\x1b]9;4;1;40\x07")
    assert [reading.percent for reading in readings] == [30.0, 30.0, 30.0, 40.0]


def test_unfinished_line_is_read_when_the_output_pauses() -> None:
    reader = OutputReader(lambda: 0.0, interval_s=0)
    assert reader.feed(b"\rwork:  10%|#         | 1/10") == []
    assert reader.unsettled
    (reading,) = reader.settle()
    assert (reading.percent, reading.current_step) == (10.0, "work")
    assert not reader.unsettled
    assert reader.settle() == []


@pytest.mark.parametrize(
    ("first", "rest", "percents"),
    [
        # A pipe that is written block by block cuts anywhere.
        (b"\r1/100 rows\r2/100 rows\r 3/1", b"00 rows\r", [2.0, 3.0]),
        (b"\rwork: 100%|##########| 9/9\rwork:", b"  10%|#         | 1/9\r", [10.0]),
        (b"\r[5/9] compiling a_long_name.c\r[6/9] com", b"piling b.c         \r", [44.4, 55.6]),
        (b"(2/4) installing b", b"eta      [####----]  50%\n", [37.5]),
        (b"[ 42%] a", b" b c\n", [42.0]),
    ],
)
def test_line_cut_by_a_pause_is_read_when_it_is_complete(first: bytes, rest: bytes, percents: list[float]) -> None:
    def distinct(readings: list[CommandProgress]) -> list[float]:
        return list(dict.fromkeys(round(reading.percent, 1) for reading in readings if reading.percent is not None))

    assert distinct(read(first, rest, settled=True)) == distinct(read(first + rest)) == percents


def test_outer_bar_leads_from_the_first_frame() -> None:
    frame = b"\router:   0%|          | 0/3\n\rinner:   0%|          | 0/9\x1b[A"
    told = {(reading.current_step, reading.percent) for reading in read(frame) if reading.step}
    assert told == {("outer", 0.0)}


def test_newest_reading_survives_the_interval_and_the_last_is_given() -> None:
    now = 0.0
    reader = OutputReader(lambda: now, interval_s=0.1)
    first = reader.feed(b"line 0\n")
    between = [reading for number in range(1, 50) for reading in reader.feed(f"line {number}\n".encode())]
    assert [reading.message for reading in first] == ["line 0"]
    assert between == []
    now = 0.1
    assert [reading.message for reading in reader.settle()] == ["line 49"]
    reader.feed(b"the end\n")
    assert [reading.message for reading in reader.finish()] == ["the end"]


def test_split_characters_and_invalid_bytes_are_read() -> None:
    assert [reading.message for reading in read(b"caf\xc3", b"\xa9\n\xff\xfe bad\n")] == ["café", "\ufffd\ufffd bad"]


def test_stdout_and_stderr_are_read_separately() -> None:
    reader = OutputReader(lambda: 0.0, interval_s=0)
    reader.feed(b"\r 10%|#         |", Source.STDERR)
    reader.feed(b"a line between\n", Source.STDOUT)
    readings = reader.feed(b"\r 20%|##        |\r", Source.STDERR)
    assert readings[-1].percent == 10.0


def test_skipped_bytes_do_not_join_two_numbers() -> None:
    reader = OutputReader(lambda: 0.0, interval_s=0)
    reader.feed(b"[ 4")
    reader.skip(Source.STDOUT)
    reader.feed(b"2%]\n")
    assert [reading.percent for reading in reader.finish()] == []


def test_skipped_bytes_withdraw_what_was_read_in_a_pause() -> None:
    reader = OutputReader(lambda: 0.0, interval_s=0)
    reader.feed(b"[ 42%] a")
    assert [reading.percent for reading in reader.settle()] == [42.0]
    reader.skip(Source.STDOUT)
    assert [(reading.percent, reading.step) for reading in reader.finish()] == [(None, 0)]


def test_tail_shows_the_text_of_a_terminal() -> None:
    reader = OutputReader(lambda: 0.0)
    reader.feed(b"".join(f"line {number}\n".encode() for number in range(100)))
    reader.feed(b"\r 10%\r 20%\r\x1b[31m 30%\x1b[0m\n\n")
    reader.feed(b"Traceback\n", Source.STDERR)
    lines = reader.tail().splitlines()
    assert len(lines) == MAX_TAIL_LINES
    assert lines[-3:] == ["line 99", " 30%", "Traceback"]


def test_tail_is_bounded_in_bytes() -> None:
    reader = OutputReader(lambda: 0.0)
    reader.feed(("é" * 1_500 + "\n").encode() * 30)
    assert MAX_TAIL_BYTES - 2 <= len(reader.tail().encode()) <= MAX_TAIL_BYTES


def test_output_without_line_ends_needs_bounded_memory() -> None:
    (reading,) = read(b"x" * 3_000_000)
    assert len(reading.message) <= 200


def test_unchanged_line_is_redacted_once() -> None:
    redacted: list[str] = []

    def redact(text: str) -> str:
        redacted.append(text)
        return text

    reader = OutputReader(lambda: 0.0, interval_s=0, redact=redact)
    reader.feed(b"working\n" * 1_000)
    assert redacted == ["working"]


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ("fetching https://ann:SEC62", "aaa@host/ now\n", "fetching https://ann:REDACTED@host/ now"),
        ("key sk-SEC62", "abcdefghijklmnop done\n", "key REDACTED done"),
        ('login password="SEC62 b', 'c" done\n', 'login password="REDACTED" done'),
        ("[1/3] https://ann:SEC62", "aaa@host/\n", "[1/3] https://ann:REDACTED@host/"),
        ("x-tra Bearer SEC", "62aaaaaa done\n", "x-tra Bearer REDACTED done"),
    ],
)
def test_secret_written_in_two_parts_is_never_read(first: str, second: str, message: str) -> None:
    reader = OutputReader(lambda: 0.0, interval_s=0)
    readings = [*reader.feed(first.encode()), *reader.settle()]
    assert "SEC" not in str(readings)
    readings += [*reader.feed(second.encode()), *reader.finish()]
    assert "SEC" not in str(readings)
    assert readings[-1].message == message


def test_unfinished_line_without_a_secret_is_read() -> None:
    reader = OutputReader(lambda: 0.0, interval_s=0)
    reader.feed(b"Compiling the kernel...")
    assert [reading.message for reading in reader.settle()] == ["Compiling the kernel..."]


def names(*lines: str) -> list[tuple[float | None, str]]:
    reader = OutputReader(lambda: 0.0, interval_s=0)
    readings = [reading for line in lines for reading in reader.feed(f"{line}\n".encode())]
    return [(reading.percent, reading.current_step) for reading in readings]


def test_numbered_commands_whose_names_differ_by_a_number_are_steps() -> None:
    shown = names(*(f"[{n}/5] cc foo{n}.c" for n in range(1, 6)))
    assert shown == [(20.0 * n if n < 5 else 99.0, f"cc foo{n}.c") for n in range(1, 6)]


def test_numbered_command_of_any_name_goes_on_with_a_build() -> None:
    shown = names(
        "[1/4] Building CXX object a.o",
        "[2/4] Linking target z",
        "[1/9] detail",
        "[3/4] Making docs",
        "[4/4] Running tests",
    )
    assert list(dict.fromkeys(shown)) == [
        (25.0, "Building CXX object a.o"),
        (50.0, "Linking target z"),
        (75.0, "Making docs"),
        (99.0, "Running tests"),
    ]
