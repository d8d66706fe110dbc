"""The servers behind us: pools, balancing, health."""
