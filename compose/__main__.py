"""`python -m backbeat.compose …` is `backbeat …`: what a part is started with, whatever is on the PATH."""

from backbeat.compose.cli.main import main

main()
