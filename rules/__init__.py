"""Rules: one module is one kind of node."""
