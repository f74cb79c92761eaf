"""Export to TypeScript."""
