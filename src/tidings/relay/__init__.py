"""The relay: reads the envelopes that another service sends over its own WebSocket, and publishes them to a hub."""
