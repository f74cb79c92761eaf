"""The fan-out benchmark: what one publisher's events cost on their way to many subscribers."""
