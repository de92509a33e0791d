"""A phone made of software: an MTP responder over directories, for the demo and for tests.

`open_virtual` (in `transport`) is the way in for users of the package:
everything else here is the phone's inside. From the bottom:

    store         objects and handles over directories        (files, no MTP framing)
    properties    what an object tells about itself           (datasets)
    phone         the state of one phone
    queries, changes, edit, settings
                  the operations, one function each
    transfers     outgoing bulk transfers, zero-length packets
    responder     the state machine that ties it all together (sans-I/O)
    faults        misbehaviour on demand
    transport     the cable: `mtpfs.transport.Transport`, in process

The model is Android's (AOSP from version 9 on), its oddities included: an
initiator that works here must have got them right.

Invariant: the phone's directories are the only state that outlives it, so a
test can look at its files and a user can fill them with any program.
"""
