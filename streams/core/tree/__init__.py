"""A workflow's tree: how its nodes come to be, move on, fail, wait for each other, and end."""
