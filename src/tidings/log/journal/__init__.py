"""The journal: one list of opaque entries, in one order, that many hubs share (ARCHITECTURE.md, "The journal")."""
