"""`tidings publish`: one event from the command line, or many from a pipe."""
