"""Health of what carries the work, for the lines at the top of every page: read, remembered, said in sentences."""
