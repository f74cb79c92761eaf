"""`tidings relay`: what another service says, into a hub."""
