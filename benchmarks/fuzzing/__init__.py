"""Fuzzing of what reads the input of strangers: `python -m benchmarks.fuzzing [TARGET...] [--inputs 500000]`."""
