"""Counts the files of a set that are left out because their endings are not those of pictures."""

import os
import re
from collections import Counter

NONE, OTHERS = "no ending", "other endings"

_MOST = 100  # the most endings that are counted separately, because numbered files may have one each
_PLAIN = re.compile(r"\.[a-z0-9_+-]{1,12}")
_SHOWN = 10  # endings in a message


class LeftOut:
    """Counts files by their endings, in lower case.

    Attributes:
      counts: files by ending. A file without an ending counts as `NONE`, one with an unusual ending as `OTHERS`.
    """

    def __init__(self) -> None:
        """Starts without files."""
        self.counts: Counter[str] = Counter()

    def add(self, name: str) -> None:
        """Counts a file.

        Args:
          name: the name of the file, without its folder.
        """
        ending = os.path.splitext(name)[1].lower() or NONE
        if ending != NONE and not _PLAIN.fullmatch(ending):
            ending = OTHERS
        if ending not in self.counts and len(self.counts) >= _MOST:
            ending = OTHERS
        self.counts[ending] += 1

    def __str__(self) -> str:
        """For messages, the most frequent first: "3 files (.gif 2, .txt 1)"; "" if there are none."""
        total = self.counts.total()
        if not total:
            return ""
        order = sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))
        shown = [f"{ending} {count}" for ending, count in order[:_SHOWN]]
        if len(order) > _SHOWN:
            shown.append(f"and {len(order) - _SHOWN} more endings")
        return f"{total} file{'s' if total > 1 else ''} ({', '.join(shown)})"
