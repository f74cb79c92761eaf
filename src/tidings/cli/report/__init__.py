"""`tidings report`: reports one operation from a shell script."""
