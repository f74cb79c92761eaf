"""The source tree of the package, parsed once for the tests of its conventions."""

import ast
import functools
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"


class Module:
    """One module of the package.

    Args:
        path: Its file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = str(path.relative_to(ROOT))
        self.text = path.read_text(encoding="utf-8")
        self.tree = ast.parse(self.text)
        parts = path.relative_to(SOURCE).with_suffix("").parts
        self.name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @functools.cached_property
    def nodes(self) -> list[ast.AST]:
        """All nodes of its syntax tree: walking it takes a second for the package."""
        return list(ast.walk(self.tree))

    @functools.cached_property
    def strings(self) -> frozenset[str]:
        """The values of its string literals."""
        return frozenset(
            node.value for node in self.nodes if isinstance(node, ast.Constant) and type(node.value) is str
        )

    def imported(self) -> Iterator[tuple[str, str | None]]:
        """Yield (module, name) of each import of the package, inside functions and for type checking too."""
        for node in self.nodes:
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "tidings":
                for alias in node.names:
                    yield str(node.module), alias.name
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name.split(".")[0] == "tidings":
                        yield alias.name, None

    def classes(self) -> Iterator[str]:
        """Yield the names of the classes at the top level."""
        for node in self.tree.body:
            if isinstance(node, ast.ClassDef):
                yield node.name

    @functools.cached_property
    def texts(self) -> list[tuple[int, str]]:
        """The (line, text) of each string literal of more than one word and of each comment."""
        return list(self._texts())

    def _texts(self) -> Iterator[tuple[int, str]]:
        for node in self.nodes:
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value.strip():
                yield node.lineno, node.value
        first, last, lines = 0, -1, list[str]()
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            if token.type != tokenize.COMMENT:
                continue
            line = token.start[0]
            # A comment over several lines is one text, so that a sentence may cross its line ends.
            if line != last + 1 or token.line.strip() != token.string:
                if lines:
                    yield first, "\n".join(lines)
                first, lines = line, []
            lines.append(token.string.lstrip("# "))
            last = line
        if lines:
            yield first, "\n".join(lines)


@functools.cache
def modules() -> tuple[Module, ...]:
    """Return all modules of the package."""
    return tuple(Module(path) for path in sorted(SOURCE.rglob("*.py")))
