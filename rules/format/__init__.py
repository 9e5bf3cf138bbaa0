"""Nodes that turn sections into what boots, and the output formats that name them."""
