"""The command line: the program, its options, profiles and exit codes."""
