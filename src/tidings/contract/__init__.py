"""The contract as a product: event types, files, comparison and exports. Only `loading` reads files."""
