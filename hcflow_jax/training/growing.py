"""Files that grow while a run trains. A full disk does not end the run: what is missing is written later."""

import sys
from pathlib import Path

from hcflow_jax import paths, streams


class GrowingFile:
    """A file of records that are added at its end.

    While the file cannot be written, the records stay in memory, and one line on stderr says so. The next flush that
    works writes them all. The file never keeps a part of a record.
    """

    def __init__(self, path: Path) -> None:
        """Opens nothing yet. An existing file is continued.

        Args:
          path: the path of the file.
        """
        self._path, self._waiting = path, bytearray()
        self._whole: int | None = None  # bytes without the part that a flush has written which failed
        self._failing = False

    def write(self, data: bytes) -> None:
        """Adds data in memory. Write whole records before a flush."""
        self._waiting += data

    def flush(self) -> None:
        """Writes to the file what is in memory."""
        if not self._waiting:
            return
        try:
            with open(self._path, "ab") as file:
                if self._whole is not None and self._whole < file.tell():
                    file.truncate(self._whole)
                else:
                    self._whole = file.tell()
                file.write(self._waiting)
        except OSError as error:
            if not self._failing:
                name, why = paths.own_names(str(self._path)), error.strerror or error
                streams.say(f"error: {name} cannot be written ({why}): the run continues and tries again", sys.stderr)
            self._failing = True
        else:
            self._waiting.clear()
            self._whole, self._failing = None, False

    close = flush  # a flush leaves nothing open
