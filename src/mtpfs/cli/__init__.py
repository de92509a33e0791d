"""The command line: mtpfs(1), a module for each of its commands, and the helper mount.mtpfs(8)."""
