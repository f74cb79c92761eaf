"""The files in `deploy`, and how the tests read them."""

import shlex
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from tests.cli.processes import tidings
from tests.transcripts.markdown import ROOT

DEPLOY = ROOT / "deploy"


def read_yaml(name: str) -> list[Any]:
    """Return the documents of a YAML file in `deploy`."""
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


def read_options(arguments: Sequence[str], variables: Mapping[str, str]) -> dict[str, Any]:
    """Return the options of `tidings serve` that a command line and variables set, as it reads them."""
    done = tidings("serve", *arguments, "--show-config", **variables)
    assert done.returncode == 0, done.stderr
    chosen = "\n".join(line for line in done.stdout.splitlines() if not line.endswith("# default"))
    return tomllib.loads(chosen)


class Image:
    """What `deploy/Dockerfile` sets for each hub."""

    def __init__(self) -> None:
        text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
        self.instructions = [
            (word, rest)
            for line in text.splitlines()
            if line and not line.startswith("#")
            for word, _, rest in [line.partition(" ")]
        ]
        self.variables = dict(pair.split("=", 1) for pair in shlex.split(self.last("ENV")))

    def last(self, word: str) -> str:
        """Return the arguments of the last instruction of a kind."""
        return [rest for each, rest in self.instructions if each == word][-1]

    def options(self, arguments: Sequence[str], variables: Mapping[str, str]) -> dict[str, Any]:
        """Return the options of a hub in a container that adds arguments and variables."""
        entry = yaml.safe_load(self.last("ENTRYPOINT"))
        assert entry == ["tidings", "serve"]
        return read_options(arguments, self.variables | dict(variables))
