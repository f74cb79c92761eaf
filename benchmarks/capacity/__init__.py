"""What a number of connections needs: `python -m benchmarks.capacity`."""
