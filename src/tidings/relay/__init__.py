"""Between tidings and services that speak the source contract by themselves: reading theirs, publishing it here."""
