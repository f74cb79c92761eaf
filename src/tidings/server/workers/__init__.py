"""A hub of several processes: one parent, and workers that share its sockets and its log."""
