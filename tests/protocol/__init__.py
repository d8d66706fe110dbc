"""Tests of the protocol room: bytes in, messages out."""
