"""`tidings operations`: what runs, what ran, and how it went."""
