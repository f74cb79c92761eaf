"""The recordings of the corpus: what a program printed and when, and its true progress.

A recording is a file of JSON lines, compressed if it is large. The first line is the head: the command, how the
recording was made, and the truth as `[seconds, percent]` points; a percentage holds until the next point, and null
means that the whole is unknown. No points: the program states no progress of the whole, and nothing may be reported.
`first_may_count` marks programs that draw one bar after another with no sign of their number: then the first bar may
count as the whole until the second begins. Each other line is one read: `[seconds, "o" or "e", bytes as Latin-1]`.
"""

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tidings.cli.run.reader.output import Source

FOLDER = Path(__file__).parent
RECORDINGS = FOLDER / "recordings"
_MAX_PLAIN_BYTES = 4_000


class Chunk(NamedTuple):
    """Bytes of one read."""

    at: float
    source: str
    data: bytes


class Point(NamedTuple):
    """True progress from a moment on."""

    at: float
    percent: float | None


class Truth(NamedTuple):
    """True progress of a recording."""

    points: list[Point]
    first_may_count: bool


@dataclass(frozen=True, slots=True)
class Recording:
    """What one program printed, and its truth."""

    name: str
    command: str
    made: str
    truth: Truth
    chunks: list[Chunk]

    @property
    def end_s(self) -> float:
        """Seconds at which the last bytes came."""
        return self.chunks[-1].at if self.chunks else 0.0

    def write(self) -> None:
        """Write the file of the recording in place of an older one."""
        head: dict[str, object] = {
            "command": self.command,
            "made": self.made,
            "points": [list(point) for point in self.truth.points],
        }
        if self.truth.first_may_count:
            head["first_may_count"] = True
        rows = [[chunk.at, chunk.source[3], chunk.data.decode("latin-1")] for chunk in self.chunks]
        text = "".join(json.dumps(row) + "\n" for row in [head, *rows]).encode("ascii")
        plain, packed = RECORDINGS / f"{self.name}.jsonl", RECORDINGS / f"{self.name}.jsonl.gz"
        for path in (plain, packed):
            path.unlink(missing_ok=True)
        if len(text) <= _MAX_PLAIN_BYTES:
            plain.write_bytes(text)
        else:
            packed.write_bytes(gzip.compress(text, mtime=0))


def names() -> list[str]:
    """Return the names of all recordings."""
    return sorted(path.name.partition(".jsonl")[0] for path in RECORDINGS.glob("*.jsonl*"))


def load(name: str) -> Recording:
    """Return a recording."""
    path = RECORDINGS / f"{name}.jsonl"
    data = path.read_bytes() if path.exists() else gzip.decompress(Path(f"{path}.gz").read_bytes())
    head, *rows = [json.loads(line) for line in data.splitlines()]
    points = [Point(at, percent) for at, percent in head["points"]]
    truth = Truth(points, head.get("first_may_count", False))
    chunks = [Chunk(at, "stdout" if source == "o" else "stderr", text.encode("latin-1")) for at, source, text in rows]
    return Recording(name, head["command"], head["made"], truth, chunks)


def source_of(chunk: Chunk) -> Source:
    """Return the stream of a chunk."""
    return Source[chunk.source.upper()]
