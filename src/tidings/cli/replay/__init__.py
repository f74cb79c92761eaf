"""`tidings replay`: a recording, into a hub."""
