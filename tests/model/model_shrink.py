"""Makes what fails smaller, while it still fails: for the programs of both rooms."""


def shorter_lists(items):
    """The list without a half of it, or without one of its items."""
    half = len(items) // 2
    if half > 1:
        yield items[half:]
        yield items[:half]
    for at in range(len(items)):
        yield items[:at] + items[at + 1 :]


def smallest(program, simpler_programs, fails, is_time_over):
    """What is left when no program one step simpler fails, or the time is over."""
    found = True
    while found and not is_time_over():
        found = False
        for simpler in simpler_programs(program):
            if is_time_over():
                break
            if fails(simpler):
                program, found = simpler, True
                break
    return program
