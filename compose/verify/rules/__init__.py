"""The rules of Backbeat, read a second time: from the behaviour document, naively, and without the engine's core."""
