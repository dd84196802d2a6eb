"""What is neither loop's fault, but the interpreter's, its library's or OpenSSL's: by the stack of what failed."""

from allocation_stacks import first_library, functions

OPENSSL = ("libcrypto", "libssl", "_ssl")


def in_stack(*names):
    return lambda failed, ended: bool(set(names) & set(functions(failed)))


def called_by(inner, outer):
    """Where `outer` called `inner`, at whatever depth."""

    def shows(failed, ended):
        names = functions(failed)
        return inner in names and outer in names[names.index(inner) :]

    return shows


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
    (
        in_stack("PyCell_New"),
        ("left alive", "descriptors left"),
        "3.11: a frame one of whose cells cannot be made forgets its arguments",
    ),
    (in_stack("task_eager_start"), ("SystemError",), "asyncio's own eager tasks, in C"),
    (in_stack("enter_task"), ("ended by",), "asyncio's own tasks, in C: entered in a dict that cannot grow"),
    (
        in_stack("lm_registry_enter"),
        ("stuck",),
        "a task that cannot be entered waits on, as asyncio's do, and Runner.close() for it",
    ),
    (
        in_stack("_asn1obj2py", "_get_peer_alt_names"),
        ("SystemError",),
        "the certificate of a peer, as the ssl module shows it",
    ),
    (in_stack("_io_open_impl"), ("descriptors left",), "open() of a descriptor"),
    (
        in_stack("PyByteArray_FromStringAndSize"),
        ("SystemError: deallocated bytearray object has exported buffers",),
        "a bytearray that gets no room is freed before it knows that nobody exports it",
    ),
    (
        called_by("_PyEval_EvalFrameDefault", "try_again"),
        ("descriptors left",),
        "socket.accept(), between the call and the object",
    ),
    (in_stack("newPySSLSocket"), ("ended by",), "the error of SSL_new is made with an object that was let go before"),
    (
        in_stack("thread_run", "pythread_wrapper"),
        ("stuck", "nothing was told", "without MemoryError", "left alive", "unraisable"),
        "a thread of the executor, which dies without a word",
    ),
    (
        in_stack("X509_VERIFY_PARAM_set1"),
        ("WrongResult",),
        "OpenSSL does not look whether it got the name that a certificate should have, and accepts any",
    ),
    (
        lambda failed, ended: first_library(failed) in OPENSSL and first_library(ended) in OPENSSL,
        ("ended by",),
        "OpenSSL goes on with memory that it did not get",
    ),
]
# And of Python code of the standard library that both loops use, by the scenario as well.
OF_THE_LIBRARY = {
    "task_group": [
        # The group waits for a task whose add_done_callback failed.
        (in_stack("PyMethod_New", "lm_future_method_add_done_callback"), ("waits, and nothing was told",)),
    ],
    "subprocess": [
        # base_subprocess waits for a pipe that it could not connect, whatever failed.
        (in_stack("resume_coroutine"), ("waits, and nothing was told",)),
        # Popen.__init__ loses its pipes.
        (called_by("_PyEval_EvalFrameDefault", "slot_tp_init"), ("descriptors left",)),
    ],
    # Condition.__exit__ does not get at its lock's __exit__: a thread of the executor waits for that for ever.
    "executor": [(in_stack("PyCMethod_New"), ("stuck",))],
    "resolving": [(in_stack("PyCMethod_New"), ("stuck",))],
}


def without_excused(name, problems, failed, ended):
    """The problems that are left."""
    excuses = [(shows, kinds) for shows, kinds, _ in EXCUSES] + OF_THE_LIBRARY.get(name, [])
    kinds = tuple(kind for shows, more in excuses if shows(failed, ended) for kind in more)
    return [text for text in problems if not text.startswith(kinds) and not text.endswith(kinds)]
