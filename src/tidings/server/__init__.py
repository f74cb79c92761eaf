"""The ways in: WebSocket, HTTP, event streams, and the runner that owns signals and drain."""
