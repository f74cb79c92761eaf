"""The HTTP side of a hub: events, operations, streams, health and documents."""
