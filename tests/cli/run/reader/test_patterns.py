import pytest

from tidings.cli.run.reader.patterns import may_hold_progress, read_progress


@pytest.mark.parametrize(
    ("line", "percent", "label"),
    [
        ("42%", 42.0, ""),
        (" 42.5 %", 42.5, ""),
        ("Kopiere: 42,5 %", 42.5, "Kopiere"),
        ("[=====>     ] 42%", 42.0, ""),
        ("[=====>42%     ]", 42.0, ""),
        ("Resizing:  42%|████▏     | 42/100 [00:04<00:05,  9.96it/s]", 42.0, "Resizing"),
        ("loss=0.31:  42%|####2     | 42/100 [00:04<00:05,  9.96it/s]", 42.0, "loss=0.31"),
        ("Epoch 2/10:  42%|████▏     | 42/100 [00:04<00:05]", 42.0, "Epoch 2/10"),
        ("Downloading ━━━━━━━╸━━━━━━━━━━  42% 0:00:05", 42.0, "Downloading"),
        ("⠋ Working ━━━━━━━━━━ 1,234/5,000 0:00:05", 24.68, "Working"),
        ("   ━━━━━━━━━━╸━━━━━━ 3.2/10.0 MB 5.6 MB/s eta 0:00:02", 32.0, ""),
        ("   ━━━━━━━━━━╸━━━━━━ 512.0 kB/1.0 MB 5.6 MB/s", 51.2, ""),
        ("model.bin: 12.3MB / 45MB", 100 * 12.3 / 45, "model.bin"),
        ("fetched 3 of 10 files", 30.0, "fetched"),
        (" 32/782 [>.............................] - ETA: 5s - loss: 0.5", 100 * 32 / 782, ""),
        ("Receiving objects:  42% (420/1000), 1.2 MiB | 3.00 MiB/s", 42.0, "Receiving objects"),
        ("     32,768  42%   31.25MB/s    0:00:00 (xfr#1, to-chk=2/4)", 42.0, ""),
        ("[download]  42.0% of   10.00MiB at  5.00MiB/s ETA 00:02", 42.0, "[download]"),
        ("acc=95% train  42%|████▏     | 5/12", 42.0, "acc=95% train"),
    ],
)
def test_display_line_states_progress(line: str, percent: float, label: str) -> None:
    gauge = read_progress(line, redrawn=True)
    assert gauge is not None
    assert gauge.percent == pytest.approx(percent)
    assert gauge.label == label


@pytest.mark.parametrize(
    "line",
    [
        "2025/07/30 11:22:33 starting",
        "[07/30 11:22:33] working",
        "07/30/25 working",
        "a/1/2/b and 3/4/5",
        "/srv/data/2024/12 opened",
        "python 3.11/3.12 found",
        "add 5/3 of it",
        "https://example.org/1/2",
        "100% of the tests run",
        "100% tests passed, 0 tests failed out of 5",
        "CPU 95%, memory 40%",
        "95% coverage",
        "coverage: 95%",
        "val_acc 88%",
        "hit rate 97%",
        "disk 91% full",
        "a change of +5%",
        "about ~50% of it",
        "less than <10%",
        "p=42%",
        "120% sure",
        "%d%% 42%s",
        "1/1 done",
        "v1.2/3 is out",
        "0 of 0",
    ],
)
def test_lookalikes_are_not_progress(line: str) -> None:
    assert read_progress(line, redrawn=True) is None
    assert read_progress(line, redrawn=False) is None


@pytest.mark.parametrize(
    ("line", "percent"),
    [
        ("tests/test_a.py ......                                  [ 42%]", 42.0),
        ("[ 42%] Building C object main.c.o", 42.0),
        ("[100%] Built target main", 100.0),
        ("Progress: 42%", 42.0),
        ("42% done", 42.0),
        ("Downloading model: 42.5%", 42.5),
        ("12% complete, 3 errors", 12.0),
    ],
)
def test_unmistakable_forms_are_certain_in_a_log(line: str, percent: float) -> None:
    gauge = read_progress(line, redrawn=False)
    assert gauge is not None
    assert gauge.certain
    assert gauge.percent == percent


@pytest.mark.parametrize(
    "line",
    [
        "src/app.py            120      6    95%",
        "Statements   : 95% ( 190/200 )",
        "/dev/sda1  100G   42G   58G  42% /",
        "cotton 100%",
        "feature_a ████████████ 42%",
        "shard 3/10",
        "3 of 10 dentists agree",
    ],
)
def test_other_numbers_in_a_log_are_uncertain(line: str) -> None:
    gauge = read_progress(line, redrawn=False)
    assert gauge is None or not gauge.certain


@pytest.mark.parametrize(
    "line",
    [
        "a1b2c3d4e5f6   web    2.12%     100.2MiB / 1.944GiB   5.03%",
        "/dev/sda1  10G  1G  9G  10% /",
        "see run 3/2026",
        "Compressed 100 MB => 42%",
    ],
)
def test_rows_of_tables_and_dates_are_not_progress(line: str) -> None:
    assert read_progress(line, redrawn=False) is None


@pytest.mark.parametrize(("line", "percent"), [("Emerging (3 of 10) lib", 20.0), ("Emerged (3 of 10) lib", 30.0)])
def test_part_under_way_is_not_done_yet(line: str, percent: float) -> None:
    reading = read_progress(line, redrawn=False)
    assert reading is not None
    assert reading.percent == percent


def test_fraction_sides_share_one_unit() -> None:
    gauge = read_progress("━━━━━━ 512.0 KiB/2 MiB", redrawn=True)
    assert gauge is not None
    assert (gauge.done, gauge.total) == (512 * 1024, 2 * 1024 * 1024)
    assert not gauge.full


def test_reading_is_full_by_count_not_by_rounded_percentage() -> None:
    almost = read_progress("100%|██████████| 9999/10000", redrawn=True)
    over = read_progress("100%|██████████| 10000/10000", redrawn=True)
    assert almost is not None
    assert over is not None
    assert not almost.full
    assert over.full


def test_plain_lines_are_rejected_by_the_quick_test() -> None:
    assert not may_hold_progress("INFO handled request id=8723 in 12 ms path=/a/b/c")
    assert may_hold_progress("x 4% y")
    assert may_hold_progress("12.3MB / 45MB")
    assert may_hold_progress("3 of 10")
