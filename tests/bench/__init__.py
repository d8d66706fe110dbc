"""Tests of the benchmark: what it reads, reckons, draws and says, and one small run of the real program."""
