"""Adapters that report the work of other frameworks: one module each, imported by the program that uses it."""
