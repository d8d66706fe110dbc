"""The clients before us."""
