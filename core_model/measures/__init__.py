"""What the core is measured by: one file a measure, each a function of a core that gives rows."""
