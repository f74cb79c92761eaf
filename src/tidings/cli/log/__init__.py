"""`tidings log`: looking at a log, checking it, copying it, and going back to a copy."""
