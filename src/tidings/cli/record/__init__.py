"""`tidings record`: what a connection sees, into a file."""
