"""Agents that the persona is compared with: the instruct base, and agents trained to be liked."""
