"""The image description: LinuxKit YAML in, a graph of nodes out."""
