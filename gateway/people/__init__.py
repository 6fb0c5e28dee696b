"""People: who they are, what they may, what they did. The console and the API let the same ones in."""
