"""The commands `tidings contract …`.

Where an exported contract goes.
"""

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from tidings.cli.contract.check import check
from tidings.cli.contract.diff import diff
from tidings.contract.contract import Contract
from tidings.contract.export.formats import FORMATS, Format
from tidings.contract.export.golang import PACKAGE, export_go
from tidings.contract.loading import load_contract
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


contract = typer.Typer(
    name="contract",
    add_completion=False,
    no_args_is_help=True,
    help="Write a contract for other languages and tools, and check against it.",
)
contract.command()(diff)
contract.command()(check)

ContractOption = Annotated[
    str | None,
    typer.Option(
        "--contract",
        metavar="SPEC",
        envvar="TIDINGS_CONTRACT",
        help="module:attribute, or a .json or .toml file. Default: what every hub speaks.",
        show_default=False,
    ),
]
"""The option that names a contract, the same for every command that needs one."""


def chosen_contract(spec: str | None) -> Contract:
    """Return the contract that the option names; where it names none, what every hub speaks.

    Raises:
        InvalidContract: There is none, or it cannot be held.
    """
    return Contract() if spec is None else load_contract(spec)


@contract.command()
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
            help="Where to write it. A folder gets a file of the usual name, and of json-schema one an event.",
            show_default=False,
        ),
    ] = None,
    package: Annotated[
        str | None,
        typer.Option("--package", metavar="NAME", help=f"Of go. Default: {PACKAGE}.", show_default=False),
    ] = None,
) -> None:
    """Write a contract in another form, to stdout or to a file."""
    chosen = FORMATS.get(format)
    if chosen is None:
        raise ConfigError(
            f"there is no format {format!r}",
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
            f"{format.name} has no packages", option="package", source="--package", hint="Leave --package out."
        )
    return msgspec.structs.replace(format, render=partial(export_go, package=package))
