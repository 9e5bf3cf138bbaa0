"""Byte layouts: archives, file systems, partition tables, disk images, programs. Pure functions; no rule is here."""
