"""`python -m mtpfs` is `mtpfs`."""

import sys

from mtpfs.cli.main import main

sys.exit(main())
