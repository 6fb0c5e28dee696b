"""The files that `backbeat init` writes, as they are; PROJECT stands for the project's name."""
