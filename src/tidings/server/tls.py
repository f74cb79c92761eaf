"""The certificate of a port that speaks TLS, which can be replaced while connections are open."""

import os
import ssl
from pathlib import Path

from tidings.exceptions import ConfigError

_HINT = "Use PEM files, and the certificate's own key without a password."


class TlsCertificate:
    """A certificate chain with its private key.

    Args:
        chain: Certificate chain in PEM.
        key: Private key in PEM, if the chain's file does not contain it.

    Raises:
        ConfigError: A file is missing, or cannot be used.
    """

    def __init__(self, chain: str | os.PathLike[str], key: str | os.PathLike[str] | None = None) -> None:
        self.files = tuple(Path(file) for file in (chain, key) if file is not None)
        self._current = self.context = self._load()
        """`context` is the one that a server is started with; each handshake uses the current one."""
        self.context.sni_callback = self._choose

    def reload(self) -> None:
        """Read the files again; open connections keep their keys.

        Raises:
            ConfigError: A file is missing, or cannot be used; the old certificate stays.
        """
        self._current = self._load()

    def _choose(self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, first: ssl.SSLContext) -> None:
        connection.context = self._current

    def _load(self) -> ssl.SSLContext:
        for option, file in zip(("ssl_certfile", "ssl_keyfile"), self.files, strict=False):
            # ssl's own error for a missing file does not name it.
            if not file.is_file():
                problem = "expected a regular file, got" if file.exists() else "no such file:"
                raise ConfigError(f"{problem} {str(file)!r}", option=option, hint=_HINT)
            if not os.access(file, os.R_OK):
                raise ConfigError(
                    f"cannot read {str(file)!r}: Permission denied",
                    option=option,
                    hint="Let the hub's user read the file, as with a group of its own.",
                )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["http/1.1"])
        try:
            # Without a password, OpenSSL would ask for one on the terminal.
            context.load_cert_chain(self.files[0], self.files[1] if len(self.files) > 1 else None, password="")
        except (ssl.SSLError, OSError) as error:
            reason = getattr(error, "reason", None) or ("not valid PEM" if isinstance(error, ssl.SSLError) else error)
            names = " or ".join(repr(str(file)) for file in self.files)
            raise ConfigError(
                f"the certificate or its key cannot be used: {reason}, {names}", option="ssl_certfile", hint=_HINT
            ) from error
        return context
