"""`backbeat completion`: the script with which a shell completes commands, options and their values."""

import click
from click.shell_completion import get_completion_class

_VARIABLE = "_BACKBEAT_COMPLETE"


@click.command(
    epilog="""\b
Examples:
  backbeat completion bash > ~/.local/share/bash-completion/completions/backbeat
  backbeat completion zsh > "${fpath[1]}/_backbeat"
  backbeat completion fish > ~/.config/fish/completions/backbeat.fish
  eval "$(backbeat completion bash)"          # for this shell only
"""
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script for a shell."""
    script_class = get_completion_class(shell)
    assert script_class is not None, "click knows the three"
    click.echo(script_class(context.find_root().command, {}, "backbeat", _VARIABLE).source())
