"""Values as people read them: times, statuses, JSON texts, characters that cannot be seen."""
