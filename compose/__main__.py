"""`python -m backbeat.compose …` is `backbeat …`: it starts a part whatever is on the PATH."""

from backbeat.compose.cli.main import main

main()
