"""The embedded log in a SQLite file, and tools for its data folder."""
