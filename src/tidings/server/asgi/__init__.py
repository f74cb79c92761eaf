"""The hub as an ASGI application: lifespan and WebSocket connections."""
