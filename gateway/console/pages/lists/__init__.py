"""Lists of workflows, nodes and the audit, searches in words, and what is downloaded of them."""
