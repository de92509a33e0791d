"""What a photo or a video tells of itself: what it is, by its name, and when it was taken, by its contents.

It knows nothing of phones. `kinds` has the names, and which of them belong together. `taken` finds the date, with
`exif` and `boxes` for what pictures and films have in them. All reading goes through `reading`, with its bounds,
because any file may be broken, or made to harm.

The readers are our own. They need three dates and nothing else. That is little code, while the libraries that exist
read whole files into memory, know EXIF but not HEIF and films, or are programs of another language.
"""
