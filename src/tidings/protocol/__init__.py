"""The wire format: messages, payloads, paths, positions, codes and revisions. Pure: no clock and no I/O."""
