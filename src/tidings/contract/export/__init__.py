"""Exports of the contract to other languages. They are deterministic: equal contracts give equal texts."""
