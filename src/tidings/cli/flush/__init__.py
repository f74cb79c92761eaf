"""`tidings flush`: sending what programs left behind when they died."""
