"""Hypothesis without a clock and without a database: the same run on every machine's load."""

from hypothesis import settings

settings.register_profile("mtpfs", deadline=None, database=None)
settings.load_profile("mtpfs")
