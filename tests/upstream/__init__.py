"""Tests of the upstream room: fakes and a hand-turned clock for decisions, loopback sockets for the rest."""
