"""Where an exported contract goes."""

import os
from collections.abc import Mapping
from pathlib import Path

import typer

from tidings.contract.contract import Contract
from tidings.contract.export.formats import Format
from tidings.exceptions import ConfigError

_SLASHES = tuple(filter(None, (os.sep, os.altsep)))


def write_export(format: Format, contract: Contract, output: str | None) -> None:
    """Write a contract in `format`.

    Args:
        format: The form.
        contract: The contract.
        output: A file; or a folder, which is there or ends with a slash; None is stdout.

    Raises:
        ConfigError: It cannot be written there.
    """
    if output is None:
        # Windows would write \r\n, and two machines would not write the same bytes.
        typer.echo(format.render(contract).encode(), nl=False)
        return
    target = Path(output).expanduser()
    if output.endswith(_SLASHES) or target.is_dir():
        _write(target, {format.file: format.render(contract)} if format.files is None else format.files(contract))
    else:
        _write(target.parent, {target.name: format.render(contract)})


def _write(folder: Path, texts: Mapping[str, str]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_bytes(text.encode())
    except OSError as cause:
        raise ConfigError(
            f"cannot write {folder}: {cause.strerror or cause}",
            option="output",
            source="--output",
            hint="Name a file or a folder that can be written.",
        ) from cause
