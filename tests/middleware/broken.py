"""A module of a user that fails while it is imported."""

raise OSError("no database")
