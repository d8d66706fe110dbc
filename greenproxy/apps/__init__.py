"""Answers of our own."""
