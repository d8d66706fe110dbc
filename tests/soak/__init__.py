"""Load on a running proxy while it is reloaded, upgraded, killed and stopped; `scripts/soak` runs it in full."""
