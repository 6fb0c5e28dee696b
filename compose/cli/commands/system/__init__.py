"""Commands about the installation itself: engines, settings, topics."""
