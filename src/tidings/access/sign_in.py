"""The pages of another server at which people sign in and out, for a page that sends them there."""

from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from tidings.exceptions import ConfigError

RETURN_PLACEHOLDER: Final = "{url}"
"""Stands in an address for the percent-encoded address to which the person returns."""


class SignInPages(Struct, frozen=True, kw_only=True):
    """Addresses of the pages at which people sign in and out.

    Raises:
        ConfigError: One is not `https://`, `http://` or a path that begins with a slash.
    """

    sign_in_url: str = ""
    """Such as `https://auth.example.com/?rd={url}`, or `/oauth2/start?rd={url}` for oauth2-proxy; "" for none."""
    sign_out_url: str = ""
    """Such as `/oauth2/sign_out`; "" for none."""

    def __post_init__(self) -> None:
        for option, url in (("sign-in-url", self.sign_in_url), ("sign-out-url", self.sign_out_url)):
            if url and not _is_page(url):
                raise ConfigError(
                    f"invalid address {url[:120]!r}: expected https://… or a path",
                    option=option,
                    hint=f"Write it as in a link: https://auth.example.com/?rd={RETURN_PLACEHOLDER}",
                )


def _is_page(url: str) -> bool:
    """Return whether a link may lead to `url`: not to a script, nor to another host by a path."""
    if not url.isprintable() or " " in url or "\\" in url:
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    if parts.scheme in ("http", "https"):
        return bool(parts.netloc)
    return not parts.scheme and not parts.netloc and url.startswith("/")
