"""Attacks on a real hub, with innocent clients beside them: `python -m benchmarks.hostile [NAME…]`."""
