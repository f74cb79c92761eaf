"""`tidings replay`: plays a recording into a hub."""
