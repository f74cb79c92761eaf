"""`tidings doctor`: checks the path from this machine to a hub in order, with a remedy for each fault."""
