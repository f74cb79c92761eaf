"""`tidings doctor`: everything between this machine and a hub, checked in order, with what to do about each."""
