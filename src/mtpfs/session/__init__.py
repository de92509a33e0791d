"""The async MTP session: transactions, priorities, timeouts, recovery, events.

`engine` runs one transaction on the worker thread (blocking), `recovery` gets
the two sides back in step after a failure, `session` is what trio code uses.
"""

from mtpfs.session.engine import DataSource, Engine, Result
from mtpfs.session.session import Session, open_session
from mtpfs.session.statistics import Statistics

__all__ = ["DataSource", "Engine", "Result", "Session", "Statistics", "open_session"]
