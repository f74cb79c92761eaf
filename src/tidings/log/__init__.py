"""The log: its port, the embedded logs, and tools for their files."""
