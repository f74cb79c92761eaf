"""Finds the contract that an argument names: a module attribute, a file, a hub, or stdin."""

import sys
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from tidings.client.http import HTTPClient, fetch_json
from tidings.contract.contract import Contract
from tidings.contract.diff.compare import ContractDocument, build_document, read_document
from tidings.contract.loading import build_contract, load_contract
from tidings.exceptions import InvalidContract

STDIN = "-"
_SCHEMES = ("http", "https", "ws", "wss")
FORMS = "module:attribute, a .json or .toml file, a hub's URL, or - for stdin"


def is_url(text: str) -> bool:
    """Return whether `text` is the URL of a hub or of a web server."""
    return urlsplit(text).scheme in _SCHEMES and "://" in text


def find_document(spec: str) -> ContractDocument:
    """Return the contract that `spec` names, as a document.

    Args:
        spec: See `FORMS`. The content decides the format of a file of another name, such as ``<(git show …)``.

    Raises:
        InvalidContract: `spec` names no valid contract.
        ClientError: The hub does not answer with a contract.
    """
    if _is_module(spec):
        return build_document(load_contract(spec))
    return read_document(_decoded(spec), _name(spec))


def find_contract(spec: str) -> Contract:
    """Return the contract that `spec` names, for checking events; see `find_document`."""
    return load_contract(spec) if _is_module(spec) else build_contract(_decoded(spec), _name(spec))


def _is_module(spec: str) -> bool:
    return spec != STDIN and not is_url(spec) and not _is_file(spec)


def _is_file(spec: str) -> bool:
    path = Path(spec)
    return path.suffix.lower() in (".json", ".toml") or (path.exists() and not path.is_dir())


def _name(spec: str) -> str:
    return "stdin" if spec == STDIN else spec


def _decoded(spec: str) -> Any:
    if is_url(spec):
        if urlsplit(spec).path.endswith(".json"):
            return fetch_json(spec)
        with HTTPClient(spec) as hub:
            return hub.contract()
    if spec == STDIN:
        return _read(sys.stdin.buffer.read(), "stdin", "")
    try:
        return _read(Path(spec).read_bytes(), spec, Path(spec).suffix.lower())
    except OSError as cause:
        raise InvalidContract(
            f"cannot read {spec}: {cause.strerror or cause}", type="", hint="Check the path."
        ) from cause


def _read(text: bytes, source: str, suffix: str) -> Any:
    # A JSON document is an object, and no TOML file begins with a brace.
    is_json = suffix == ".json" or (suffix != ".toml" and text.lstrip().startswith(b"{"))
    form = "JSON" if is_json else "TOML"
    try:
        return msgspec.json.decode(text) if is_json else tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
        raise InvalidContract(f"{source}: invalid {form}: {cause}", type="", hint=f"Correct the {form}.") from cause
