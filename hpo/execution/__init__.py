"""Where segments run: in this process, or in worker processes."""
