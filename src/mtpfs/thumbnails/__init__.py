"""Pictures at once: the device's own thumbnails, checked, in the cache where file managers look.

`decoder` and its `child` look at bytes that a device has sent, `png` at what comes of them, and `entries` knows the
cache. `making` puts them together for one file of a phone.
"""
