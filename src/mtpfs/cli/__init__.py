"""The command line: `mtpfs`, `mtpfs list` and the helper `mount.mtpfs`."""
