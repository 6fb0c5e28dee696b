"""The commands about workflows and the system, each in a file of its name."""
