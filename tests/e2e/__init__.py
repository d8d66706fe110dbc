"""End to end: a real proxy process between real sockets."""
