"""Starts and ends on disk until the hub has them, and bringing in what dead processes left."""
