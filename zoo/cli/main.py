"""The one command `phasezoo`: gathers sub-commands, and turns errors into messages and exit codes."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points, version

import typer
from rich.console import Console
from rich.markup import escape

from zoo.cli import demo, look, spectra
from zoo.errors import ZooError

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130

app = typer.Typer(
    name="phasezoo",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Populations of trained networks that cover the phases of the loss landscape.\n\n"
    "Start with [bold]phasezoo demo[/bold]: it trains, measures, draws and scores a small zoo in minutes.",
)


@app.callback(invoke_without_command=True)
def _root(show_version: bool = typer.Option(False, "--version", help="Print the version and stop.")) -> None:
    if show_version:
        typer.echo(f"phasezoo {version('phasezoo')}")
        raise typer.Exit


def build() -> typer.Typer:
    """Gather the sub-commands: those of `zoo`, and those that the other packages register.

    Returns:
        The command.
    """
    if not app.registered_commands:
        look.register(app)
        spectra.register(app)
        for point in sorted(entry_points(group="phasezoo.commands"), key=lambda point: point.name):
            point.load()(app)
        demo.register(app, lambda words: app(words, standalone_mode=False))
    return app


def run(arguments: list[str]) -> int:
    """Run one command line.

    Args:
        arguments: The words after `phasezoo`.

    Returns:
        Exit code: 0 done, 2 for whatever the user can mend, 130 after Ctrl-C.
    """
    console = Console(stderr=True, soft_wrap=True)
    try:
        code = build()(arguments, standalone_mode=False)
    except ZooError as error:
        console.print(f"[red]error:[/red] {escape(str(error))}")
        return EXIT_USER_ERROR
    except OSError as error:
        # whatever the file system says of a path that no one foresaw
        console.print(f"[red]error:[/red] {escape(str(error))}; check the path and its permissions")
        return EXIT_USER_ERROR
    except typer.TyperException as error:
        console.print(f"[red]error:[/red] {escape(error.format_message())} (see phasezoo --help)")
        return EXIT_USER_ERROR
    if code == EXIT_INTERRUPTED:
        console.print("stopped; all that was committed is kept, and the same command goes on from there")
    return code if isinstance(code, int) else 0


def main() -> None:
    """Run the command line of this process."""
    sys.exit(run(sys.argv[1:]))
