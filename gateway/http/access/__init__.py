"""Access: who makes a call, and what they may."""
