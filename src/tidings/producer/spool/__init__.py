"""Copies of starts and ends on disk until the hub has them, and the recovery of those that dead producers left."""
