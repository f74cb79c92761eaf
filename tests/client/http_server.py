"""HTTP servers that give one answer to every request, and record the requests."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer


@dataclass
class RecordedServer:
    """A running server, and the requests that it received: target and headers of each, and their connections."""

    url: str
    requests: list[tuple[str, Message]] = field(default_factory=list)
    connections: int = 0


@contextmanager
def recorded_server(
    body: bytes = b"{}",
    status: int = 200,
    *,
    headers: Mapping[str, str] | None = None,
    requests_per_connection: int = 1,
) -> Iterator[RecordedServer]:
    """Serve `body` on a free port.

    Args:
        body: Body of every response.
        status: Status of every response.
        headers: More headers of every response.
        requests_per_connection: Requests after which the server closes a connection, without announcing it.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            server_facts.connections += 1
            self.left = requests_per_connection

        def do_GET(self) -> None:
            server_facts.requests.append((self.path, self.headers))
            self.left -= 1
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = self.left == 0

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        server_facts = RecordedServer(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server_facts
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def http_server(body: bytes, status: int = 200) -> Iterator[str]:
    """Serve `body` on a free port; yields its URL."""
    with recorded_server(body, status) as server:
        yield server.url
