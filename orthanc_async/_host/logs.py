"""Everything that Python says goes to Orthanc's log."""

from __future__ import annotations

import io
import logging
import sys
import threading
from typing import TYPE_CHECKING, Any

from orthanc_async._host._native import native

if TYPE_CHECKING:
    from types import TracebackType
    from typing import TextIO

    from _typeshed import ReadableBuffer as Buffer

logger = logging.getLogger("orthanc_async")


class OrthancLogHandler(logging.Handler):
    """Hand records to Orthanc's log: errors, warnings, and all below as information."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record, with its whole traceback. Thread: any."""
        try:
            # `warnings` end their text with a line break, which would be an empty line of the log.
            text = self.format(record).rstrip("\n")
            native._log(record.levelno, _sayable(f"{record.name}: {text}"))
        except Exception:  # noqa: BLE001 - logging must never raise
            self.handleError(record)


class LogStream(io.TextIOBase):
    """A `sys.stdout` whose lines go to Orthanc's log.

    As warnings, because that is what Orthanc shows when nothing else is asked for, and a `print`
    is there to be seen.

    Args:
        real: the stream that this one stands for; None where the process has none.
    """

    encoding = "utf-8"
    errors = "backslashreplace"
    mode = "w"
    line_buffering = True
    write_through = True

    def __init__(self, name: str, real: TextIO | None) -> None:
        self._name = name
        self._real = real
        self._pending = threading.local()  # threads do not share lines
        self.buffer = _Bytes(self)

    @property
    def name(self) -> str:
        """The name of the stream that this one stands for."""
        return self._name

    def fileno(self) -> int:
        """Return the real stream's descriptor, for faulthandler and child processes.

        Raises:
            io.UnsupportedOperation: the process has no such stream.
        """
        if self._real is None:
            raise io.UnsupportedOperation("fileno")
        return self._real.fileno()

    def reconfigure(self, **_settings: Any) -> None:
        """Do nothing: scripts set an encoding or the buffering, which a log decides itself."""

    def writable(self) -> bool:
        """Tell that this stream can be written to."""
        return True

    def write(self, text: str) -> int:
        """Log the lines that `text` completes; keep the rest for the next call."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        whole = getattr(self._pending, "text", "") + text
        *lines, self._pending.text = whole.split("\n")
        for line in lines:
            self._log(line)
        return len(text)

    def flush(self) -> None:
        """Log an unfinished line as it is."""
        rest = getattr(self._pending, "text", "")
        if rest:
            self._pending.text = ""
            self._log(rest)

    def _log(self, line: str) -> None:
        if line.strip():
            native._log(logging.WARNING, _sayable(line))


class _Bytes(io.RawIOBase):
    """The `buffer` of a stream, for scripts that write bytes."""

    def __init__(self, stream: LogStream) -> None:
        self._stream = stream

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream.fileno()

    def write(self, data: Buffer) -> int:
        raw = bytes(data)
        self._stream.write(raw.decode("utf-8", "backslashreplace"))
        return len(raw)

    def flush(self) -> None:
        if not self.closed:
            self._stream.flush()


def _sayable(text: str) -> str:
    """Escape what UTF-8 cannot say, such as a path of other bytes, and what would cut a line."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def install(*, debug: bool) -> None:
    """Connect logging, print, warnings and uncaught exceptions. Called at every start."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    root.addHandler(OrthancLogHandler())
    root.setLevel(logging.DEBUG if debug else logging.INFO)
    logging.captureWarnings(capture=True)
    sys.stdout = LogStream("<stdout>", sys.__stdout__)
    sys.stderr = LogStream("<stderr>", sys.__stderr__)
    sys.excepthook = _uncaught
    sys.unraisablehook = _unraisable
    threading.excepthook = _thread_died


def use_stderr() -> None:
    """In a forked child: Orthanc's log may be locked by a thread that is not there."""
    sys.stdout = sys.__stderr__
    sys.stderr = sys.__stderr__
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    root.addHandler(logging.StreamHandler(sys.__stderr__))


def _uncaught(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    logger.error("uncaught exception", exc_info=(kind, error, traceback))


def _unraisable(unraisable: Any) -> None:
    error = unraisable.exc_value
    logger.error(
        "%s: %r",
        unraisable.err_msg or "exception ignored in",
        unraisable.object,
        exc_info=(unraisable.exc_type, error, unraisable.exc_traceback) if error else None,
    )


def _thread_died(arguments: threading.ExceptHookArgs) -> None:
    if arguments.exc_type is SystemExit:
        return
    name = arguments.thread.name if arguments.thread else "?"
    error = arguments.exc_value
    if isinstance(error, RuntimeError) and str(error).endswith("after Orthanc has stopped"):
        # The way in which a script's endless thread ends at every stop.
        logger.info("thread %s has ended: %s", name, error)
        return
    logger.error(
        "uncaught exception in thread %s",
        name,
        exc_info=(arguments.exc_type, error, arguments.exc_traceback) if error else None,
    )
