"""The async MTP session: transactions, priorities, timeouts, resync, events.

`engine` runs one transaction on the worker thread (blocking), `resync` gets the two sides back in step after a
failure, `session` is what trio code uses.
"""

from mtpfs.session.engine import DataSource, Engine, Result
from mtpfs.session.events import Change
from mtpfs.session.handles import Handle
from mtpfs.session.queue import Rank
from mtpfs.session.session import BUSY_PAUSES, Session, open_session
from mtpfs.session.statistics import Statistics

__all__ = [
    "BUSY_PAUSES",
    "Change",
    "DataSource",
    "Engine",
    "Handle",
    "Rank",
    "Result",
    "Session",
    "Statistics",
    "open_session",
]
