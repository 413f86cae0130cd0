"""The demo: what the ledger does when all goes well, when things overtake each other, and when something is killed."""

from scripts.demo.play import play

__all__ = ["play"]
