"""What a process did last, read after it died."""

from __future__ import annotations

import subprocess
import sys

from upbench.sweeping.announcement import Announcement

DIES = """
import os, signal, sys
from upbench.sweeping.announcement import Announcement
said = Announcement(int(sys.argv[1]))
for number in range(5):
    said.say(number)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_last_word_of_a_killed_process_is_there() -> None:
    said = Announcement()
    assert said.read() is None
    died = subprocess.run([sys.executable, "-c", DIES, str(said.descriptor)], pass_fds=(said.descriptor,), check=False)
    assert died.returncode == -9
    assert said.read() == 4
    said.clear()
    assert said.read() is None
    said.close()
