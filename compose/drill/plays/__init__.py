"""Plays: a fault, its targets, its bounds; the playbook, and those of users."""
