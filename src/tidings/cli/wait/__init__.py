"""`tidings wait`: the end of an operation as an exit code."""
