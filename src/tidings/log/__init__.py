"""The log: its port, the embedded logs, and the tools for their files."""
