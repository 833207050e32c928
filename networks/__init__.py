"""Networks by name, their checkpoints, and their export to other formats."""
