"""A hub of several machines, which share a log through the journal in NATS JetStream or PostgreSQL."""
