"""Signals to this process: now, and from a thread while the loop is asleep."""

import os
import signal
import threading


def kill_self(number=signal.SIGUSR1):
    os.kill(os.getpid(), number)


def kill_from_thread(loop, number=signal.SIGUSR1):
    """Send the signal from a thread again and again, from a moment at which the loop is probably asleep."""
    over = threading.Event()

    def body():
        while not over.wait(0.05):
            kill_self(number)

    thread = threading.Thread(target=body)
    loop.call_soon(thread.start)

    def end():
        over.set()
        thread.join()

    return end
