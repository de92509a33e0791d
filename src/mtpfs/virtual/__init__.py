"""A phone made of software: an MTP responder over directories, for the demo and for tests.

`open_virtual` (in `transport`) is the way in for users of the package.
Everything else here is the phone's inside. From the bottom:

    capabilities  what kind of phone it is, and the words that say so
    store         objects and handles over directories        (files, no MTP framing)
    properties    what an object tells about itself           (datasets)
    phone         the state of one phone
    space         what fits on the disk, and what happens to the rest
    queries, changes, edit, device_properties
                  the operations, one function each
    transfers     outgoing bulk transfers, zero-length packets
    responder     the state machine that ties it all together (sans-I/O)
    faults        misbehaviour on demand
    transport     the cable: `mtpfs.transport.Transport`, in process

The model is a phone that exists, with all that is odd about it. A host that works
here has to get that right. `as=NAME` says which phone:

    android14     AOSP from version 9 on, the default: vacated names stay taken for
                  a moment, uploads cause events, a full disk is admitted or not
    android8      no move, no copy, property lists without dates
    sailfish      one edit at a time, which leaves the date as it was; a name that is
                  taken again too soon costs what took it
    tizen         partial reads of 64 bits that read nothing, edits that change
                  nothing, renames that have to keep the extension
    camera        PTP: look, fetch, delete
    player        FAT, and only what it can play
    umtp          one object at a time, and no word about a full disk

Each is a value of `Capabilities`. The operations ask for a behaviour by its
name and never for a maker. So every word can be combined with every personality.
The code of a behaviour names the source that shows it.

Invariant: the phone's directories are the only state that outlives it. So a
test can look at its files, and a user can fill them with any program.
"""
