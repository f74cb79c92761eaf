"""Where a contract comes from: ``my_app.events:contract``, or a file."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Literal

from tidings.contract.contract import Contract
from tidings.contract.files import read_contract
from tidings.exceptions import InvalidContract

_FORMS: dict[str, Literal["json", "toml"]] = {".json": "json", ".toml": "toml"}


def load_contract(spec: str) -> Contract:
    """Return the contract that `spec` names.

    Args:
        spec: ``module:attribute``, of a module that can be imported from here, or the path of a ``.json`` or ``.toml``.

    Raises:
        InvalidContract: There is none, or it cannot be held.
    """
    form = _FORMS.get(Path(spec).suffix.lower())
    if form is not None:
        return _of_file(Path(spec), form)
    module, colon, attribute = spec.partition(":")
    if not (colon and module and attribute):
        raise InvalidContract(
            f"{spec!r} is no contract", type="", hint="Write module:attribute, or the path of a .json or .toml file."
        )
    return _of_module(module, attribute)


def _of_file(path: Path, form: Literal["json", "toml"]) -> Contract:
    try:
        text = path.read_bytes()
    except OSError as cause:
        raise InvalidContract(f"{path}: {cause.strerror or cause}", type="") from cause
    return read_contract(text, str(path), form=form)


def _of_module(name: str, attribute: str) -> Contract:
    # A script's own folder is not on the path of an installed command; where one calls it, is what one means.
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found: object = import_module(name)
    except InvalidContract:
        raise
    except ImportError as cause:
        raise InvalidContract(
            f"{name} cannot be imported: {cause}", type="", hint="Call this where `import` finds it, or set PYTHONPATH."
        ) from cause
    except Exception as cause:
        raise InvalidContract(f"{name} cannot be imported: {type(cause).__name__}: {cause}", type="") from cause
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise InvalidContract(f"{name} has no {attribute}", type="") from None
    if not isinstance(found, Contract):
        kind = type(found).__name__
        raise InvalidContract(
            f"{name}:{attribute} is a {kind}",
            type="",
            hint="Make it one: `tidings.Contract.of(event(…))`.",
        )
    return found
