"""Which files may have a thumbnail: pictures and films, by their names.

Devices know formats, but a listing is a name, and file managers go by that, too.
"""

from __future__ import annotations

import os

from mtpfs.pictures.kinds import Kind, kind_of


def may_have_one(name: bytes) -> bool:
    """Tell whether a file of this name may have a thumbnail. What begins with a dot is shown by nobody."""
    return kind_of(os.fsdecode(name)) in {Kind.PHOTO, Kind.VIDEO}
