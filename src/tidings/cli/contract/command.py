"""The commands `tidings contract …`, with `export` and the option that names a contract."""

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from tidings.cli.commands import PlainCommand, make_group
from tidings.cli.contract.check import check
from tidings.cli.contract.diff import diff
from tidings.contract.contract import Contract
from tidings.contract.export.formats import FORMATS, Format
from tidings.contract.export.golang import DEFAULT_PACKAGE, export_go
from tidings.contract.loading import load_contract
from tidings.exceptions import ConfigError

_SLASHES = tuple(filter(None, (os.sep, os.altsep)))


def write_export(format: Format, contract: Contract, output: str | None) -> None:
    """Write a contract in `format`.

    Args:
        format: The format.
        contract: The contract.
        output: A file; a folder, which exists or ends with a slash; or None for stdout.

    Raises:
        ConfigError: `output` cannot be written.
    """
    if output is None:
        # As bytes, because Windows would write \r\n, and the output would differ between machines.
        typer.echo(format.render(contract).encode(), nl=False)
        return
    target = Path(output).expanduser()
    if output.endswith(_SLASHES) or target.is_dir():
        _write(target, {format.file: format.render(contract)} if format.files is None else format.files(contract))
    else:
        _write(target.parent, {target.name: format.render(contract)})


def _write(folder: Path, texts: Mapping[str, str]) -> None:
    path = folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            path = folder / name
            path.write_bytes(text.encode())
    except OSError as cause:
        raise ConfigError(
            f"cannot write {path}: {cause.strerror or cause}",
            option="output",
            source="--output",
            hint="Pass a file or folder that can be written.",
        ) from cause


contract = make_group("contract", "Export a contract, compare contracts, and check traffic against one.")
contract.command(cls=PlainCommand)(diff)
contract.command(cls=PlainCommand)(check)

ContractOption = Annotated[
    str | None,
    typer.Option(
        "--contract",
        metavar="SPEC",
        envvar="TIDINGS_CONTRACT",
        help="Contract: module:attribute, or a .json or .toml file. Default: the built-in contract.",
        show_default=False,
    ),
]
"""The option for a contract, shared by the commands that need one."""


def chosen_contract(spec: str | None) -> Contract:
    """Return the contract that the option names, or the built-in contract.

    Raises:
        InvalidContract: `spec` names no valid contract.
    """
    return Contract() if spec is None else load_contract(spec)


@contract.command(cls=PlainCommand)
def export(
    format: Annotated[
        str,
        typer.Argument(
            metavar="FORMAT",
            help="; ".join(f"{each.name}: {each.about}" for each in FORMATS.values()) + ".",
            show_default=False,
        ),
    ],
    spec: ContractOption = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE|DIR",
            help="Output file or folder. Default: stdout. In a folder, json-schema writes one file per event.",
            show_default=False,
        ),
    ] = None,
    package: Annotated[
        str | None,
        typer.Option(
            "--package", metavar="NAME", help=f"Go package name. Default: {DEFAULT_PACKAGE}.", show_default=False
        ),
    ] = None,
) -> None:
    """Export a contract to another format."""
    chosen = FORMATS.get(format)
    if chosen is None:
        raise ConfigError(
            f"unknown format {format!r}",
            option="FORMAT",
            source="the command line",
            hint=f"Formats are {', '.join(FORMATS)}.",
        )
    if package is not None:
        chosen = _packaged(chosen, package)
    write_export(chosen, chosen_contract(spec), output)


def _packaged(format: Format, package: str) -> Format:
    if format.render is not export_go:
        raise ConfigError(
            f"--package does not apply to {format.name}", option="package", source="--package", hint="Remove --package."
        )
    return msgspec.structs.replace(format, render=partial(export_go, package=package))
