"""Page of the API for people."""
