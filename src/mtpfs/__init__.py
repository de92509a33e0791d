"""mtpfs: mount phones and players that speak MTP (Media Transfer Protocol)."""

__version__ = "0.1.0"
