"""The families of attacks, one module each; `benchmarks.hostile.registry` finds them here."""
