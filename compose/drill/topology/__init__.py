"""Services of an installation, their hosts and dependencies: started here, or named by a file."""
