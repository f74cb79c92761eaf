"""The embedded log in a SQLite file, and the tools for its data folder."""
