"""The contract in other languages, made from the one that the hub checks by. Deterministic: equal in, equal out."""
