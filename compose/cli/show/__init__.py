"""Output of commands: tables, trees, progress, and JSON for programs."""
