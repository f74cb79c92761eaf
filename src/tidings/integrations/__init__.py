"""Adapters that let other frameworks' work be reported: one module each, imported by whoever uses it."""
