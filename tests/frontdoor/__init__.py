"""Front doors: the command line, the master and the workers, as real processes."""
