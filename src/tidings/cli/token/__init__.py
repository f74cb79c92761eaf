"""`tidings token`: issues and inspects tokens, and revokes credentials of a running hub."""
