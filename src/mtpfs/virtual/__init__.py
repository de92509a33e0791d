"""A phone made of software: an MTP responder over directories, for the demo and for tests.

`open_virtual` (in `transport`) is the way in for users of the package:
everything else here is the phone's inside. From the bottom:

    capabilities  what kind of phone it is, and the words that say so
    store         objects and handles over directories        (files, no MTP framing)
    properties    what an object tells about itself           (datasets)
    phone         the state of one phone
    space         what fits on the disk, and what happens to the rest
    queries, changes, edit, settings
                  the operations, one function each
    transfers     outgoing bulk transfers, zero-length packets
    responder     the state machine that ties it all together (sans-I/O)
    faults        misbehaviour on demand
    transport     the cable: `mtpfs.transport.Transport`, in process

The model is a phone that exists, with its oddities. An initiator that works here
must have got them right. `as=NAME` says which one:

    android14     AOSP from version 9 on, the default: vacated names stay taken for
                  a moment, its own uploads echo, a full disk is owned up to or not
    android8      no move, no copy, property lists without dates
    sailfish      one edit at a time, which leaves the date as it was; a name that is
                  taken again too soon costs what took it
    tizen         partial reads of 64 bits that read nothing, edits that change
                  nothing, renames that have to keep the extension
    camera        PTP: look, fetch, delete
    player        FAT, and only what it can play
    umtp          one object at a time, and no word about a full disk

Each is a value of `Capabilities`: the operations ask for a behaviour by its
name and never for a maker, so every word can be combined with every personality.
Where the behaviour is, the source that shows it is named.

Invariant: the phone's directories are the only state that outlives it, so a
test can look at its files and a user can fill them with any program.
"""
