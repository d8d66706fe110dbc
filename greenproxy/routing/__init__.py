"""A request in, its route out."""
