"""Benchmarks: programs that measure tidings, run by hand or by `make bench`, never asserted against the clock."""
