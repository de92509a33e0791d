"""MTP's codec: bytes ⇄ values, for both roles, without any I/O.

`codes` holds the enumerations, `wire` the primitive types, `dates` the DateTime
string, `containers` the framing over USB, `datasets` the compound values.
Everything raises `RemoteProtocolError` for bytes that can't be decoded and
`LocalProtocolError` for values that can't be encoded.
"""
