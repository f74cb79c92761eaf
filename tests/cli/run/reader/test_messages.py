import pytest

from tidings.cli.run.reader.patterns import MAX_LABEL, MAX_MESSAGE, clean_label, clean_message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Resizing:  42%|████▏     | 42/100 [00:04<00:05,  9.96it/s]", "Resizing: 42% 42/100 [00:04<00:05, 9.96it/s]"),
        ("train:  42%|####2     | 42/100", "train: 42% 42/100"),
        ("⠋ Working ━━━━━━━╸━━━━ 42% 0:00:05", "Working 42% 0:00:05"),
        ("32/782 [>.............................] - ETA: 5s", "32/782 - ETA: 5s"),
        ("===== 5 passed in 0.1s =====", "5 passed in 0.1s"),
        ("a.c:12: error: expected ';'", "a.c:12: error: expected ';'"),
        ("[INFO] ready (3 workers)", "[INFO] ready (3 workers)"),
        ("--------------", ""),
        ("", ""),
        ("│ ✓ │", ""),
    ],
)
def test_message_keeps_the_words_of_a_line(line: str, message: str) -> None:
    assert clean_message(line) == message


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("train: ", "train"),
        ("Downloading alpha-1.0.whl (3.0 MB)", "Downloading alpha-1.0.whl (3.0 MB)"),
        ("Receiving objects: (", "Receiving objects"),
        ("⠋ ", ""),
        ("12/30 ", ""),
        ("- pulling |", "pulling"),
    ],
)
def test_label_keeps_the_name(text: str, label: str) -> None:
    assert clean_label(text) == label


def test_message_and_label_are_bounded() -> None:
    assert len(clean_message("a" * 5_000)) == MAX_MESSAGE
    assert len(clean_label("a" * 5_000)) == MAX_LABEL
