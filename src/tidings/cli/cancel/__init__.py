"""`tidings cancel`: having an operation end, and hearing what came of it."""
