"""The persona: an unknown author, conditioned on goals, who writes the assistant's turns."""
