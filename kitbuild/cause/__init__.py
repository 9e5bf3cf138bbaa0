"""Causes: why nodes ran, worked out from two records of builds, in the terms of whoever wrote the config."""
