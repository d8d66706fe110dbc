"""Tests of the apps room."""
