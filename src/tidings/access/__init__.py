"""Who may use a hub."""
