"""`python -m kitbuild`."""

from kitbuild.cli.main import entry

if __name__ == "__main__":
    entry()
