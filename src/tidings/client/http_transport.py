"""HTTP/1.1 to one server of any kind, also through the environment's proxy."""

import contextlib
import re
import socket
import ssl
from collections.abc import Mapping
from email.message import Message
from http.client import HTTPConnection, HTTPException, HTTPSConnection, RemoteDisconnected
from urllib.parse import SplitResult, quote, urlsplit

from msgspec import Struct

from tidings.client.network import PLAIN_TO_TLS_HINT, basic_credentials, explain_tls_error, make_tls_context
from tidings.client.url import authority, is_loopback
from tidings.exceptions import ConfigError, HubUnreachable
from tidings.version import __version__

PORTS = {"ws": 80, "wss": 443, "http": 80, "https": 443}
"""Default ports, by the scheme of a URL."""
_ERRNO = re.compile(r"^\[Errno -?\d+\] ")
_MAX_REASON_CHARACTERS = 200
"""Characters of an exception that an error shows."""
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


class HTTPAnswer(Struct, frozen=True):
    """A complete HTTP response."""

    status: int
    headers: Message
    body: bytes


class HTTPTransport:
    """HTTP/1.1 to one server, over a connection that is kept.

    Args:
        url: Any URL of the server.
        timeout_s: Timeout for connecting, and by default for an answer.
        headers: Headers of every request.

    Raises:
        ConfigError: The host of `url` is invalid, or the environment's proxy is not an HTTP proxy.
    """

    def __init__(self, url: str, timeout_s: float, headers: Mapping[str, str]) -> None:
        parts = urlsplit(url)
        self._where = authority(url)
        self._timeout_s = timeout_s
        self._headers = {"user-agent": f"tidings/{__version__}", **headers}
        if parts.username:  # a token, which a request has, replaces them
            self._headers["authorization"] = basic_credentials(parts.username, parts.password)
        self._closed = False
        host, port = _encode_host(parts.hostname or ""), parts.port or PORTS[parts.scheme]
        proxy = None if is_loopback(url) else _proxy_of(parts.scheme, f"{host}:{port}")
        # Through a proxy, plain HTTP names the whole URL; TLS goes through a tunnel.
        self._absolute = proxy is not None and parts.scheme == "http"
        self._netloc = self._where if self._where.isascii() else f"{host}:{port}"
        near, near_port = (host, port) if proxy is None else (str(proxy.hostname), proxy.port or PORTS["http"])
        credentials = {}
        if proxy is not None and proxy.username:
            credentials["proxy-authorization"] = basic_credentials(proxy.username, proxy.password)
        if parts.scheme == "http":
            self._connection = HTTPConnection(near, near_port, timeout=timeout_s)
            self._headers.update(credentials)
        else:
            self._connection = HTTPSConnection(near, near_port, timeout=timeout_s, context=make_tls_context())
            if proxy is not None:
                self._connection.set_tunnel(host, port, credentials)

    def close(self) -> None:
        """Close the connection, for good."""
        self._closed = True
        if self._connection.sock is not None:
            # A close alone does not wake a thread that reads from the socket.
            with contextlib.suppress(OSError):
                self._connection.sock.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def exchange(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        read_s: float | None = None,
    ) -> HTTPAnswer:
        """Send one request, and return its response, whatever its status.

        A kept connection may have been closed by the server since; the request is then sent once more on a new one.
        That is safe for every route: an event carries an id, and a cancellation is the same the second time.

        Raises:
            ConfigError: `url` is invalid.
            HubUnreachable: No complete answer arrived in time.
        """
        parts = urlsplit(url)._replace(fragment="")
        if self._absolute:
            target = _encode_target(parts._replace(netloc=self._netloc).geturl())
        else:
            target = _encode_target(parts._replace(scheme="", netloc="").geturl())
        reused = self._connection.sock is not None
        try:
            if not reused:
                self._connection.connect()
            if self._closed:
                raise ConnectionAbortedError("the client is closed")
            self._connection.sock.settimeout(read_s or self._timeout_s)
        except TimeoutError as error:
            raise HubUnreachable(f"no hub answers at {self._where} in time") from error
        except ssl.SSLError as error:
            self._connection.close()
            raise explain_tls_error(error, self._where) from error
        except (OSError, HTTPException) as error:
            self._connection.close()
            raise HubUnreachable(f"no hub answers at {self._where}: {_reason(error)}") from error
        try:
            refused_body = False
            try:
                self._connection.request(method, target, body=body, headers={**self._headers, **(headers or {})})
            except ConnectionError:
                # A server may answer, for example 413, and close before it has read the whole body.
                if self._closed:
                    raise
                refused_body = True
            response = self._connection.getresponse()
            answer = HTTPAnswer(response.status, response.headers, response.read())
            if refused_body:
                self._connection.close()
            return answer
        except TimeoutError as error:
            self._connection.close()
            raise HubUnreachable(f"no hub answers at {self._where} in time") from error
        except (OSError, HTTPException) as error:
            self._connection.close()
            if reused and not self._closed and isinstance(error, ConnectionError):
                return self.exchange(method, url, body=body, headers=headers, read_s=read_s)
            is_silent = isinstance(error, RemoteDisconnected) and not reused and parts.scheme == "http"
            hint = PLAIN_TO_TLS_HINT if is_silent else ""
            raise HubUnreachable(f"the connection to {self._where} was lost: {_reason(error)}", hint=hint) from error


def _proxy_of(scheme: str, host: str) -> SplitResult | None:
    """Return the split URL of the environment's proxy for a host, as WebSocket connections use it; None without one.

    Raises:
        ConfigError: The proxy is not an HTTP proxy.
    """
    import urllib.request  # a quarter of the import time of this module, and not needed for a hub on this machine

    proxies = urllib.request.getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    if not proxy or urllib.request.proxy_bypass(host):
        return None
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if parts.scheme != "http" or not parts.hostname:
        hint = "Set HTTP_PROXY or HTTPS_PROXY to an http:// URL, or name the hub's host in NO_PROXY."
        raise ConfigError(f"unsupported proxy {parts.scheme}://{parts.hostname}", option="proxy", hint=hint)
    return parts


def _encode_host(host: str) -> str:
    """Return a host as it is resolved and sent: in ASCII.

    Raises:
        ConfigError: The host is invalid.
    """
    try:
        encoded = host.encode("idna").decode()
    except UnicodeError as error:
        raise ConfigError(f"invalid host {host!r}: {error}", option="url") from error
    if " " in encoded or not encoded.isprintable():
        raise ConfigError(f"invalid host {host!r}: expected no blanks or control characters", option="url")
    return encoded


def _encode_target(target: str) -> str:
    """Percent-encode the characters that a request target may not hold; its `%XX` stay.

    Raises:
        ConfigError: The target is not Unicode text.
    """
    try:
        return quote(_LONE_PERCENT.sub("%25", target), safe="%/?:@!$&'()*+,;=[]~")
    except UnicodeError as error:
        raise ConfigError(f"invalid URL {target!r}: expected Unicode text", option="url") from error


def _reason(error: Exception) -> str:
    """Return the text of an error on one printable line, without the number that the system has for it."""
    # `http.client` quotes the first line of a server that does not speak HTTP, and whatever that line holds.
    text = "".join(character if character.isprintable() else " " for character in str(error)[:_MAX_REASON_CHARACTERS])
    return _ERRNO.sub("", " ".join(text.split())).lower() or type(error).__name__
