"""Access control: who may do what, for how long, and from which web pages."""
