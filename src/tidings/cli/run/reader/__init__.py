"""Reads progress, steps and messages from what a command prints."""
