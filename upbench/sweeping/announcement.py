"""A number that a worker leaves in shared memory: what it does now, still there when the worker is not.

A message for each call would wake the parent between every two samples. This costs a write to memory.
"""

from __future__ import annotations

import mmap
import os
import struct
import tempfile

FORM = struct.Struct("<qq")
NOTHING = -1


class Announcement:
    """One whole number, and how often one was left, shared by two processes through an open file that has no name.

    Args:
        descriptor: Of the file, as the other process handed it on; None to make a new one.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        if descriptor is None:
            with tempfile.TemporaryFile() as file:
                file.truncate(FORM.size)
                self.descriptor = os.dup(file.fileno())
        else:
            self.descriptor = descriptor
        self._memory = mmap.mmap(self.descriptor, FORM.size)
        if descriptor is None:
            self.clear()

    def say(self, number: int) -> None:
        """Leave a number; the call of which it speaks comes next."""
        FORM.pack_into(self._memory, 0, number, self.count() + 1)

    def clear(self) -> None:
        """Nothing is being done that could fail by itself."""
        self.say(NOTHING)

    def read(self) -> int | None:
        """Return the last number, None when there is none."""
        number, _ = FORM.unpack_from(self._memory, 0)
        return None if number == NOTHING else int(number)

    def count(self) -> int:
        """Return how often a number was left: while this grows, the other process is at work."""
        _, count = FORM.unpack_from(self._memory, 0)
        return int(count)

    def close(self) -> None:
        """Let go of the memory and the file in this process."""
        self._memory.close()
        os.close(self.descriptor)
