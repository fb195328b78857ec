"""A CSV file of any tool's results, as researchers have it; what is accepted is in docs/how_to/tables.md."""
