"""The protocol adapter: inode numbers and attributes in, errno out. The only importer of pyfuse3."""
