"""`tidings watch`: operations as bars, and everything else as lines."""
