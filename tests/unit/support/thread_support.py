"""What tests do in another thread."""

import threading


def elsewhere(function):
    """What the function gives in another thread, while this one waits; an exception as what it is."""
    found = []

    def body():
        try:
            found.append(function())
        except Exception as exc:
            found.append(exc)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    return found[0]
