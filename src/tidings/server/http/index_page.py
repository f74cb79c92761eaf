"""Pages for a browser, static like the page at /docs: what this server is, and that an address leads nowhere."""

from html import escape

from tidings.server.http.docs_page import STYLE
from tidings.version import __version__

_LINKS = (
    ("docs", "The events of this hub", "types, fields and examples"),
    ("openapi.json", "OpenAPI", "the HTTP API"),
    ("asyncapi.json", "AsyncAPI", "the WebSocket"),
    ("v1/operations", "Operations", "as JSON, the newest first"),
    ("v1/stream", "Events as they happen", "as Server-Sent Events"),
    ("metrics", "Metrics", "for Prometheus"),
    ("readyz", "Readiness", "whether the hub accepts events"),
)


def index_page(websocket_url: str, http_url: str, *, prefix: str, has_metrics: bool) -> str:
    """Return the page.

    Args:
        websocket_url: URL of the WebSocket, as the browser reaches the hub.
        http_url: URL of the HTTP interface, with a slash at its end.
        prefix: What leads from the page's own URL to the hub's other paths: "" where that URL ends with a slash.
        has_metrics: Whether the metrics are at this port.
    """
    links = "".join(
        f'<li><a href="{escape(prefix + path)}">{escape(title)}</a>: {escape(about)}</li>\n'
        for path, title, about in _LINKS
        if has_metrics or path != "metrics"
    )
    post = f"""curl --json '{{"type":"data:update","data":{{"dataset":"prices"}}}}' {http_url}v1/events"""
    return _page(
        "A tidings hub",
        "<header>\n<h1>A tidings hub</h1>\n"
        "<p>This server receives events about long-running work, keeps them in order, and sends them to all who "
        f'watch.</p>\n<p class="facts">tidings {escape(__version__)}</p>\n</header>\n<main>\n'
        f"<h2>Watch</h2>\n{_code(f'tidings watch --url {websocket_url}')}"
        f"{_code(f'curl -N {http_url}v1/stream')}"
        f"<h2>Report</h2>\n{_code(f'tidings run --url {websocket_url} -- make')}{_code(post)}"
        f"<h2>Read</h2>\n<ul>\n{links}</ul>\n"
        "</main>\n",
    )


def unknown_page(path: str, *, prefix: str) -> str:
    """Return the page for an address that the hub does not have.

    Args:
        path: The path of the address.
        prefix: What leads from the page's own URL to the hub's root.
    """
    return _page(
        "No such address",
        "<header>\n<h1>No such address</h1>\n"
        f"<p>This tidings hub has nothing at <code>{escape(path)}</code>.</p>\n</header>\n<main>\n"
        f'<p><a href="{escape(prefix)}">To the beginning</a></p>\n'
        f'<p><a href="{escape(prefix)}docs">The events of this hub, and its API</a></p>\n</main>\n',
    )


def _page(title: str, body: str) -> str:
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )


def _code(text: str) -> str:
    return f"<pre><code>{escape(text)}</code></pre>\n"
