"""The command line, run in this process as the console script runs it."""

from __future__ import annotations

import pytest

from api.cli import main


def truename(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `truename ARGUMENTS`."""
    with pytest.raises(SystemExit) as stop:
        main([str(each) for each in arguments])
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err
