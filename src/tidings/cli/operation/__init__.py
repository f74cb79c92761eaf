"""`tidings operation`: one operation, looked at, and reported by shell scripts."""
