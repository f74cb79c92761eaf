"""The server of a hub: WebSocket, HTTP and event streams, and the process with its signals and its drain."""
