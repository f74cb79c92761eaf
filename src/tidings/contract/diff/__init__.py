"""The differences between two contracts, and the programs that each of them breaks."""
