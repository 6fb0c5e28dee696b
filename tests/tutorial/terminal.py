"""A terminal with a shell in it, and somebody who types, reads and presses Ctrl-C."""

from __future__ import annotations

import codecs
import os
import pty
import re
import select
import subprocess
import sys
import termios
from pathlib import Path

SECONDS_MAX = 180.0

#: A shell that begins a session of its own on the terminal: only then does Ctrl-C reach what runs in it.
_LOGIN = (
    "import fcntl, os, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execvp('bash', ['bash', '--norc', '--noprofile', '--noediting', '-i'])"
)
#: What the shell says when it waits for a command: how the one before ended.
_PROMPT = re.compile(r"@exit (\d+)@\Z")
_UP, _ERASE_LINE = "\x1b[1A", "\x1b[2K"
_MOVES = re.compile(r"\x1b\[\??[\d;]*[A-Za-z]|\r?\n|\r|[^\x1b\r\n]+")


class Terminal:
    """From its making to `close()`."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self._ours, its = pty.openpty()
        modes = termios.tcgetattr(its)
        modes[3] &= ~termios.ECHO  # What is typed is known; what is read is what programs say.
        termios.tcsetattr(its, termios.TCSANOW, modes)
        self._shell = subprocess.Popen(
            [sys.executable, "-c", _LOGIN],
            stdin=its,
            stdout=its,
            stderr=its,
            cwd=folder,
            env=env | {"PS1": "@exit $?@", "TERM": "xterm", "COLUMNS": "200"},
        )
        os.close(its)
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._come = ""
        #: Whether a command runs.
        self.busy = True
        self._await_prompt()

    def run(self, command: str) -> None:
        """Type a command and wait for its end, which must be a good one."""
        self.begin(command)
        code = self._await_prompt()
        assert code == 0, f"{command}: exit code {code}\n{self.shown}"

    def begin(self, command: str) -> None:
        """Type a command, and go on."""
        assert not self.busy, f"{command}: something else still runs"
        self.busy = True
        os.write(self._ours, f"{command}\n".encode())

    def press_ctrl_c(self) -> None:
        """Stop what runs, and wait for its end, which must be a good one."""
        os.write(self._ours, b"\x03")
        code = self._await_prompt()
        assert code == 0, f"exit code {code} after Ctrl-C\n{self.shown}"

    def expect(self, pattern: re.Pattern[str]) -> str:
        """What has come since the last time is this, or becomes this while the command runs; it as it came."""
        while not pattern.fullmatch(self.shown):
            assert self.busy, f"wanted:\n{pattern.pattern}\nfound:\n{self.shown}"
            self._read(f"wanted:\n{pattern.pattern}\nfound:")
        shown = self.shown
        self.forget()
        return shown

    def forget(self) -> None:
        """What has come so far is of no interest."""
        self._come = ""

    @property
    def shown(self) -> str:
        """What has come and was neither expected nor forgotten, as a screen shows it."""
        return f"{as_shown(self._come).strip()}\n"

    def close(self) -> None:
        """Stop what still runs, and close the window."""
        try:
            if self.busy and self._shell.poll() is None:
                self.press_ctrl_c()
        finally:
            os.close(self._ours)
            self._shell.wait(SECONDS_MAX)

    def _await_prompt(self) -> int:
        while (prompt := _PROMPT.search(self._come)) is None:
            self._read("the command does not end:")
        self._come = self._come[: prompt.start()]
        self.busy = False
        return int(prompt[1])

    def _read(self, trouble: str) -> None:
        """Read what comes next."""
        ready, _, _ = select.select([self._ours], [], [], SECONDS_MAX)
        assert ready, f"nothing came for {SECONDS_MAX:.0f} s; {trouble}\n{self.shown}"
        self._come += self._decoder.decode(os.read(self._ours, 65_536))


def as_shown(text: str) -> str:
    """What is on the screen in the end: without colours, and with what was drawn over."""
    lines = [""]
    row = 0
    for move in _MOVES.findall(text):
        match move:
            case "\n" | "\r\n":
                row += 1
                lines += [""] if row == len(lines) else []
            case "\r":
                pass  # Programs here erase a line before they write it anew.
            case _ if move == _UP:
                row = max(0, row - 1)
            case _ if move == _ERASE_LINE:
                lines[row] = ""
            case _ if not move.startswith("\x1b"):
                lines[row] += move
    return "\n".join(line.rstrip() for line in lines)
