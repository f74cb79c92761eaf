"""`tidings serve`: a hub as a process of its own. Its options are defined once, in `settings`."""
