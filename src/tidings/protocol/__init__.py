"""What is on the wire: messages, payloads, paths, positions, codes. Pure."""
