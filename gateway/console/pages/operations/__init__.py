"""Pages of the installation: schedules, letters, clients, the system, retention and archives, drills."""
