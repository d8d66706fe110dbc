"""One file per concern between client and upstream."""
