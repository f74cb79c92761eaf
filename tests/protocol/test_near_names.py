import pytest

from tidings.protocol import near_names
from tidings.protocol.message_types import MessageType
from tidings.protocol.near_names import find_near

TYPES = [str(type) for type in MessageType]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("operation:progres", "operation:progress"),
        ("operation:progess", "operation:progress"),
        ("operation:porgress", "operation:progress"),
        ("operations:progress", "operation:progress"),
        ("operation:started", "operation:start"),
        ("operation:failure", "operation:failed"),
        ("operation:canceled", "operation:cancelled"),
        ("job:progress", None),
        ("data:updates", "data:update"),
        ("system:alter", "system:alert"),
        ("x", None),
        ("", None),
        ("x" * 10_000, None),
    ],
)
def test_misspelt_type_is_found(written: str, meant: str | None) -> None:
    assert find_near(written, TYPES) == ([meant] if meant else [])


def test_nearest_names_come_first() -> None:
    assert find_near("import-7", ["import-71", "import-8", "import-700", "export-9"], limit=2) == [
        "import-71",
        "import-8",
    ]
    assert find_near("ab", ["abc"]) == ["abc"]


def test_hostile_names_cost_a_comparison_of_their_ends_only(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []

    def count(one: str, other: str) -> int:
        compared.append(other)
        return 100

    monkeypatch.setattr(near_names, "_count_different", count)
    ids = [f"{number * 0x9E3779B97F4A7C15 % 2**128:032x}"[::-1] for number in range(1, 1_000)]
    assert find_near("0123456789abcdef" * 2, ids) == []
    assert len(compared) <= 10
