"""The files of the dashboard, read once and ready to be sent."""

import gzip
import hashlib
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from msgspec import Struct

INDEX: Final = "/"
PAGES: Final = ("/operation", "/log", "/names", "/name", "/events", "/trace", "/system", "/wall", "/signin")
"""Paths besides `/` that the dashboard shows a page at, all in one folder: so the links of one `index.html` are right
for each of them, wherever the hub is mounted, and no proxy can change them. The subject of a page is in its query."""
_INDEX_FILE: Final = "/index.html"
_ASSETS: Final = "/assets/"
"""Files with a hash of their content in their name."""
_FOLDER: Final = "static"
_TYPES: Final = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "ico": "image/x-icon",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "png": "image/png",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
    "woff2": "font/woff2",
}
"""Media types by file extension; a file of another kind is not served."""
_HEAD: Final = b'<head>\n    <meta name="tidings-build" content="%b">'
"""The page names its own build, because the hub may be replaced before the page can ask for it."""
_COMPRESSED: Final = frozenset({"ico", "png", "woff2"})
_MAX_DEPTH: Final = 4


class BundleFile(Struct, frozen=True, kw_only=True):
    """One file of the dashboard."""

    body: bytes
    gzipped: bytes | None
    """The same, compressed; None where that saves nothing."""
    media_type: str
    tag: str
    """Hash of the content, from which its entity tags are made."""
    immutable: bool = False
    """Whether its name changes with its content."""


class Bundle(Struct, frozen=True):
    """The dashboard."""

    files: dict[str, BundleFile]
    """The files by path, without `index.html`."""
    index: BundleFile
    """The page."""
    build: str
    """Id of the build: equal for equal files."""


def read_bundle(folder: Traversable) -> Bundle | None:
    """Return the dashboard in a folder; None where it holds none, as in a checkout without a build.

    Symbolic links are read like what they lead to: the folder is a part of the installed package.
    """
    found = {} if not folder.is_dir() else dict(sorted(_read_files(folder, "", 0).items()))
    index = found.pop(_INDEX_FILE, None)
    if index is None:
        return None
    digest = hashlib.sha256(index.tag.encode())
    for path, file in found.items():
        digest.update(f"\n{path} {file.tag}".encode())
    build = digest.hexdigest()[:16]
    page = index.body.replace(b"<head>", _HEAD % build.encode(), 1)
    return Bundle(found, _file(page, "html", immutable=False), build)


@cache
def packaged_bundle() -> Bundle | None:
    """Return the dashboard that is a part of this package; see `read_bundle`."""
    return read_bundle(files(__package__) / _FOLDER)


def _read_files(folder: Traversable, prefix: str, depth: int) -> dict[str, BundleFile]:
    found: dict[str, BundleFile] = {}
    for entry in folder.iterdir():
        path = f"{prefix}/{entry.name}"
        if entry.is_dir():
            found |= _read_files(entry, path, depth + 1) if depth < _MAX_DEPTH else {}
            continue
        extension = entry.name.rpartition(".")[2]
        if extension in _TYPES and not entry.name.startswith("."):
            found[path] = _file(entry.read_bytes(), extension, immutable=path.startswith(_ASSETS))
    return found


def _file(body: bytes, extension: str, *, immutable: bool) -> BundleFile:
    gzipped = None if extension in _COMPRESSED else gzip.compress(body, 9, mtime=0)
    return BundleFile(
        body=body,
        gzipped=gzipped if gzipped is not None and len(gzipped) < len(body) else None,
        media_type=_TYPES[extension],
        tag=hashlib.sha256(body).hexdigest()[:32],
        immutable=immutable,
    )
