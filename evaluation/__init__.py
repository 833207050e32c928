"""Which faces are scored, how, and how the scores are shown."""
