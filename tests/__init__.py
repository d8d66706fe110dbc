"""Tests of greenproxy, in the rooms of the package."""
