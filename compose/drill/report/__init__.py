"""Reports of runs: text, JSON, HTML, and the comparison of two."""
