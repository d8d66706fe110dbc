"""The only room that touches sockets."""
