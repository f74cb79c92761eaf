"""The contract: what a message may be, as pure functions and tables that await nothing and read no clock."""
