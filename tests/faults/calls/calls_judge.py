"""What came of a run: what was wrong with it, and how its faults were told."""

from calls_shim import ERRORS, Fault


def is_hard(fault):
    return fault.name in ERRORS[fault.call][1].split()


def faults_of(result):
    return [Fault(*fault) for fault in result["faults"]]


def complaints(result):
    """What was wrong, and whether a hard fault was kept back: something is missing, and nobody was told of anything.

    Who was told need not have seen the errno: a server that runs out of memory resets its client.
    """
    wrong = list(result["wrong"])
    if result["missing"] and not result["told"]:
        kept = ", ".join(str(fault) for fault in faults_of(result) if is_hard(fault))
        wrong.append(f"nobody was told of {kept or 'it'}: {result['missing']}")
    return wrong


def outcome(result):
    """How a fault came out, in a word or two."""
    wrong = complaints(result)
    if any(text.startswith("hangs") for text in wrong):
        return "hang"
    if wrong:
        return "WRONG"
    where = {where for where, _ in result["told"]}
    for way in ("raised", "loop", "loop close", "lost", "error_received", "handler", "log", "unraisable"):
        if way in where:
            return way.replace(" ", "-")
    return "silent"
