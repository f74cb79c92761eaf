"""Typed, trace-correlated events about long-running work, to every screen that watches it."""

from tidings.version import __version__ as __version__
