"""kitbuild builds bootable, immutable Linux systems from LinuxKit configs, incrementally."""

__version__ = "0.1.0"
