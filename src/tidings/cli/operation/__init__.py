"""`tidings operation`: shows one operation, and reports one from a shell script."""
