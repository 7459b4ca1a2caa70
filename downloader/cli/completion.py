"""`downloader completion`: completion of commands, options, choices, files and keys of the job file."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from downloader.cli.options import command
from downloader.cli.output import say


@command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """Print the script with which SHELL completes commands, options, choices, files and keys after --set.

    Examples:
      eval "$(downloader completion bash)"                          in ~/.bashrc
      eval "$(downloader completion zsh)"                           in ~/.zshrc
      downloader completion fish > ~/.config/fish/completions/downloader.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"there is no completion for {shell}")
    completion = kind(
        click.get_current_context().find_root().command, {}, "downloader", "_DOWNLOADER_COMPLETE"
    )
    # Not `source()`, which starts bash to ask its version.
    say(completion.source_template % completion.source_vars())
