"""What goes out: activities, replies, history and dead letters."""
