"""What commands print: tables, trees, progress, and JSON for programs."""
