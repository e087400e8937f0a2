"""What the engine is timed by: functions of a `Bench` that give a figure by engine."""
