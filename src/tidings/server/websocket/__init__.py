"""The native WebSocket edge: handshake, frames, and an asyncio protocol that writes straight to sockets."""
