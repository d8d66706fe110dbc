"""Tests of the middleware room."""
