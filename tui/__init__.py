"""The terminal: the Textual application and the `candor` command."""
