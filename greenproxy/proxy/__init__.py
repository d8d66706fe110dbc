"""Client meets upstream."""
