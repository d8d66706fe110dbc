"""Coverage-guided fuzzing of what reads bytes from strangers; CONTRIBUTING.md says how to run it."""
