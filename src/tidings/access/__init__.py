"""Access control: which web pages may use a hub."""
