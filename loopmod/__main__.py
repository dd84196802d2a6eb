"""The command line: runs any program on the loop, or opens a REPL. Its description is HELP, below.

Reads the options; loopmod/launch.py runs the program, loopmod/info.py says what the loop runs on.
"""

import argparse
import os
import sys

from . import __version__, choice, launch

PROG = "python -m loopmod"
USAGE = f"{PROG} [option ...] [script | -m module | -c code | -] [argument ...]\n       {PROG} [option ...] info"
HELP = """\
Run an asyncio program as python does, with loopmod's event loop wherever the program
makes a loop. Without a program, open a REPL that takes await at the top level.

program:
  script         a file, or a directory or zip file with a __main__.py
  -m module      a module or package
  -c code        the code itself
  -              standard input
  argument ...   for the program, which finds them in sys.argv

instead of a program:
  info           say which libev, Python and OpenSSL the loop runs on and which of its
                 fast paths are open here (where no file of this name is)
"""


def main() -> None:
    """Do what sys.argv asks for."""
    parser = make_parser()
    own, program = split(sys.argv[1:])
    options = parser.parse_args(own)
    words = choice_of(parser, options)
    if asks_for_info(program):
        choice.make(words)
        # Here and not above: a program finds no more modules imported than it needs.
        from . import info

        print(info.text())
        return
    if options.debug:
        os.environ["PYTHONASYNCIODEBUG"] = "1"
    choice.make(words)
    if not start(parser, program):
        start_repl()


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the words before the program."""
    parser = argparse.ArgumentParser(
        prog=PROG,
        usage=USAGE,
        description=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    switches = {
        "debug": "run loops in debug mode, as PYTHONASYNCIODEBUG=1 does",
        "as-uvloop": "answer for uvloop, for programs that look for it",
        "defaults": "reach policies derived from asyncio's default one, and asyncio.EventLoop",
        "children": "let Pythons that the program starts anew inherit all this, by LOOPMOD_CHILDREN and PYTHONPATH",
        "no-notice": "do not say when a loop of another kind runs (--debug always does)",
    }
    for word, described in switches.items():
        parser.add_argument(f"--{word}", action="store_true", help=described)
    parser.add_argument("-V", "--version", action="version", version=f"loopmod {__version__}")
    return parser


def split(words: list[str]) -> tuple[list[str], list[str]]:
    """Split before the program: all that comes later is the program's, whatever it looks like."""
    count = 0
    while count < len(words) and is_option(words[count]):
        count += 1
    return words[:count], words[count:]


def is_option(word: str) -> bool:
    """Whether a word may be an option of ours: it names no program and does not end the options."""
    return word.startswith("-") and word not in ("-", "--") and word[:2] not in ("-m", "-c")


def asks_for_info(program: list[str]) -> bool:
    """Whether the words are the one that is no program: a script of that name comes first."""
    return program == ["info"] and not os.path.lexists("info")


def choice_of(parser: argparse.ArgumentParser, options: argparse.Namespace) -> list[str]:
    """Return the words of loopmod/choice.py that the options are."""
    words = [word for word in choice.WORDS if getattr(options, word.replace("-", "_"))]
    for word in ("debug", "children"):
        if word in words and sys.flags.ignore_environment:
            instead = ": use python -X dev" if word == "debug" else ""
            parser.error(f"--{word} goes through the environment, which python -E and -I ignore{instead}")
    if "children" in words and sys.flags.no_site:
        parser.error("--children goes through sitecustomize.py, which python -S leaves out")
    return words


def start(parser: argparse.ArgumentParser, program: list[str]) -> bool:
    """Run the program of these words; return False if they name none."""
    first, *arguments = program or ["--"]
    if first[:2] in ("-m", "-c"):
        flag, joined = first[:2], first[2:]
        words = [joined, *arguments] if joined else arguments
        if not words:
            parser.error(f"{flag} needs {'a module' if flag == '-m' else 'code'}")
        run = launch.run_module if flag == "-m" else launch.run_command
        run(words[0], words[1:])
        return True
    if first == "--":
        if not arguments:
            return False
        first, *arguments = arguments
    if first != "-":
        launch.run_script(first, arguments)
    elif sys.stdin is not None and sys.stdin.isatty():
        return False
    else:
        launch.run_stdin(arguments)
    return True


def start_repl() -> None:
    """Run the REPL of this Python's asyncio, whose loop is one of ours by now."""
    if not sys.flags.quiet:
        print(f"loopmod {__version__} is the event loop of this shell.", file=sys.stderr)
    launch.run_module("asyncio", [])


if __name__ == "__main__":
    main()
