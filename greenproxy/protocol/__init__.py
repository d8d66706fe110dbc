"""Bytes in, messages out. Nothing here knows sockets or greenlets."""
