"""What is neither loop's fault, but the interpreter's, its library's or OpenSSL's: by the stack of what failed."""

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
    (
        in_stack("PyFunction_NewWithQualName", "compute_cr_origin", "type_new_impl", "type_new_set_attrs"),
        ("ended by", "left alive"),
        "a function, coroutine or class that cannot be made lets go of what it does not hold",
    ),
    (
        in_stack("PyObject_ClearManagedDict", "_PyTuple_Resize"),
        ("left alive", "descriptors left"),
        "what was held by an object's dict, or by a tuple that should grow, is forgotten",
    ),
    (in_stack("task_eager_start"), ("SystemError",), "asyncio's own eager tasks, in C"),
    (
        in_stack("_asn1obj2py", "_get_peer_alt_names"),
        ("SystemError",),
        "the certificate of a peer, as the ssl module shows it",
    ),
    (in_stack("_io_open_impl"), ("descriptors left",), "open() of a descriptor"),
    (
        in_stack("thread_run", "pythread_wrapper"),
        ("stuck", "nothing was told", "without MemoryError", "left alive", "unraisable"),
        "a thread of the executor, which dies without a word",
    ),
    (
        lambda failed, ended: first_library(failed) in OPENSSL and first_library(ended) in OPENSSL,
        ("ended by",),
        "OpenSSL goes on with memory that it did not get",
    ),
]
# And by the scenario, where it is Python code of the standard library that both loops use.
OF_THE_LIBRARY = {
    "task_group": ("nothing was told",),  # the group waits for a task whose add_done_callback failed
    "subprocess": ("nothing was told", "descriptors left"),  # base_subprocess waits for a pipe; Popen's pipes
    "sock_connect": ("descriptors left",),  # socket.accept(), between the call and the object
    "executor": ("stuck",),  # Thread.start() waits for the thread
    "resolving": ("stuck",),
}


def without_excused(name, problems, failed, ended):
    """The problems that are left."""
    kinds = OF_THE_LIBRARY.get(name, ())
    for shows, more, _ in EXCUSES:
        if shows(failed, ended):
            kinds += more
    return [text for text in problems if not text.startswith(kinds) and not text.endswith(kinds)]
