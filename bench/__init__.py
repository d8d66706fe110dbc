"""The benchmark behind `scripts/bench`: greenproxy and other proxies, side by side, under the same load on the same machine.

Every proxy has one worker on one processor core, in front of the same origin on another. They take turns, round by round, and
what is compared is processor time per request within a round: it holds on machines where wall time does not.
"""
