"""A mount's side door: a socket for what no system call can ask for, such as a thumbnail.

`words` is what both sides agree on, `server` is the mount's side, `client` that of the commands.
"""
