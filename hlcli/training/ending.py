"""How a run ends: what status.json says of it, and what is closed."""

from __future__ import annotations

import logging
import sys
import time
from contextlib import suppress
from shlex import quote
from typing import TYPE_CHECKING

from hlcli.errors import HlcliError, LostProcessError
from hlcli.runs import Run
from hlcli.training.trackers import finish_trackers

if TYPE_CHECKING:
    from accelerate import Accelerator

logger = logging.getLogger(__name__)

_TRIES, _PAUSE = 20, 0.5  # seconds; loader processes notice within five that their parent was killed


def note_interrupt(accelerator: Accelerator, run: Run | None, *, all_saved: bool) -> KeyboardInterrupt:
    """What ends a run that was stopped; it says what is saved."""
    message = "Nothing was saved yet."
    if run is not None and run.checkpoint_file.is_file():
        saved = "All is saved" if all_saved else "The last checkpoint is kept"
        message = f"{saved}; go on with: hlcli train --run {quote(str(run.folder))} --resume"
    note_end(accelerator, run, "interrupted", 130, message)
    if run is not None and not accelerator.is_main_process:
        with suppress(OSError):
            run.stopped_file.touch()  # for the others, which see no more than that this one is gone
    return KeyboardInterrupt(message)


def was_asked(run: Run | None) -> bool:
    """Whether another process than the first was stopped by a signal, not by a fault."""
    return run is not None and run.stopped_file.exists()


def note_end(accelerator: Accelerator, run: Run | None, state: str, code: int, message: str, **facts: object) -> None:
    """Say in status.json how it ended; launchers lose the exit code. A run of another process is not touched."""
    if run is not None and accelerator.is_main_process and run.is_ours:
        _write(run, state, code, message, **facts)


def _write(run: Run, state: str, code: int, message: str, **facts: object) -> None:
    """Write the status; where that fails, what ended the run stays the error."""
    try:
        run.write_status(state, exit_code=code, message=message, **facts)
    except HlcliError as error:
        if state == "finished":
            raise
        logger.warning("%s It still says %r.", error, run.state())


def note_failure(accelerator: Accelerator, run: Run | None, error: HlcliError) -> None:
    """Say in status.json why; where the first process is gone, which else would say it, another one does."""
    note_end(accelerator, run, "failed", error.exit_code, str(error))
    if isinstance(error, LostProcessError) and run is not None and not accelerator.is_main_process:
        _stand_in(run, error)


def _stand_in(run: Run, error: HlcliError) -> None:
    """Write the status for a first process that was killed. While it lives the folder is its own, and so is this."""
    for _ in range(_TRIES):
        try:
            run.lock()
        except HlcliError:  # the first process still has it, or it cannot be written
            time.sleep(_PAUSE)
            continue
        try:
            if run.state() == "running":
                _write(run, "failed", error.exit_code, str(error))
        finally:
            run.unlock()
        return


def close_run(accelerator: Accelerator, run: Run | None) -> None:
    """Close trackers and run. After an error that nobody foresaw, the status must not say `running` for ever."""
    if run is None or not run.is_ours:
        return
    error = sys.exc_info()[1]
    try:
        if run.state() == "running" and not isinstance(error, HlcliError):
            _write(run, "failed", 1, f"{error!r}")
        finish_trackers(accelerator, run.folder, run.state())
    finally:
        run.unlock()
