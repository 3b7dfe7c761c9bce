"""What the demonstration stands on: its database, its directory, its commands, its output."""
