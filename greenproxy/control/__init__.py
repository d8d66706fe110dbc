"""Acts on a running greenproxy, from another process: by its admin listener and by signals."""
