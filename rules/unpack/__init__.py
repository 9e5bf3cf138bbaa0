"""Nodes that turn image layers into trees."""
