"""Stores: one module is one kind of store, or one wrapper."""
