"""What is neither loop's fault: of the interpreter, its standard library, OpenSSL. Each by the stack of what failed."""

from allocation_stacks import first_library, functions


OPENSSL = ("libcrypto", "libssl", "_ssl")


def in_stack(*names):
    return lambda failed, ended: bool(set(names) & set(functions(failed)))


# What shows it, the beginnings or ends of the problems that come of it, and what it is.
EXCUSES = [
    (
        in_stack("_PyFrame_MakeAndSetFrameObject"),
        ("SystemError", "without MemoryError", "nothing was told"),
        "an exception that unwinds a frame is lost where there is no memory for the frame's object",
    ),
    (in_stack("task_eager_start"), ("SystemError",), "asyncio's own eager tasks, in C"),
    (
        in_stack("_asn1obj2py", "_get_peer_alt_names"),
        ("SystemError",),
        "the certificate of a peer, as the ssl module shows it",
    ),
    (in_stack("_io_open_impl", "sock_accept"), ("descriptors left",), "open() and accept() of a descriptor"),
    (
        in_stack("thread_run", "pythread_wrapper", "ThreadHandle_start", "thread_PyThread_start_new_thread"),
        ("stuck", "nothing was told", "without MemoryError", "raised RuntimeError: can't start new thread"),
        "a thread of the executor, which dies without a word",
    ),
    (
        lambda failed, ended: first_library(failed) in OPENSSL and first_library(ended) in OPENSSL,
        ("ended by",),
        "OpenSSL goes on with memory that it did not get",
    ),
]

# And by the scenario, where it is asyncio's Python on either loop.
OF_ASYNCIO = {
    "task_group": "nothing was told",  # a task that add_done_callback failed for, and which the group waits for
}


def without_excused(name, problems, failed, ended):
    """The problems that are left."""
    problems = [text for text in problems if not text.endswith(OF_ASYNCIO.get(name, ()))]
    for shows, kinds, _ in EXCUSES:
        if problems and shows(failed, ended):
            problems = [text for text in problems if not text.startswith(kinds) and not text.endswith(kinds)]
    return problems
