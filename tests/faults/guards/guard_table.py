"""The guards that are taken out one by one, and the instruments that each has to be missed by.

A guard is a few characters on one line of a file of src/ (two lines where a reference is taken and dropped); each
text stands in its file exactly once. The instruments are tried in their order until one fails.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Guard:
    name: str
    path: str  # below src/
    edits: tuple  # of (text, what stands there without the guard)
    instruments: tuple
    is_memory: bool = False  # to be seen by AddressSanitizer
    hangs: bool = False  # without it something hangs, soon: else a limit of time has not noticed anything


def guard(name, path, old, new, *instruments, memory=False, hangs=False):
    return Guard(name, path, ((old, new),), instruments, memory, hangs)


def hold(name, path, taken, dropped, *instruments):
    """A reference that is neither taken nor dropped."""
    return Guard(name, path, (taken, dropped), instruments, True)


def unit(*arguments):
    """Tests of tests/unit, by file and -k."""
    files = [f"tests/unit/{argument}" for argument in arguments[:1]]
    names = ["-k", arguments[1]] if len(arguments) > 1 else []
    return ("pytest", *files, *names)


def adversary(name):
    return ("script", f"tests/isolated/adversary/{name}.py")


def played(piece):
    """The harness of the bounded proofs, on values by chance."""
    return ("script", "tests/proofs", piece, "--played", "300")


def calls(work):
    """A piece of work, by its name in tests/faults/calls, under the soft faults of fixed seeds."""
    return ("script", "tests/faults/calls", "--work", work, "--mode", "soft", "--seeds", "25", "--most", "1")


def allocation(scenario):
    """Each allocation of a scenario fails."""
    return ("script", "tests/faults/allocation", scenario)


def leaks(*cycles):
    """What small lives leave behind, by names of tests/leaks."""
    return ("script", "tests/leaks", *cycles, "--count", "40")


MODEL = ("script", "tests/model/transports", "--seconds", "20")
TASKS = ("script", "tests/model/tasks", "--count", "250")


GUARDS = [
    guard(
        "ring: room before a push",
        "base/ring.h",
        "ring->tail - ring->head > ring->mask)) {",
        "ring->tail - ring->head > ring->mask + 1)) {",
        played("ring"),
    ),
    guard(
        "heap: a node knows its place",
        "base/heap.c",
        "    slot.node->index = (uint32_t)index;",
        "    ;",
        unit("core/test_handles.py"),
        played("heap"),
        memory=True,
    ),
    guard(
        "freelist: its bound",
        "base/freelist.h",
        "(list->size >= most || lm_freelist_grow(list) < 0)",
        "(lm_freelist_grow(list) < 0)",
        played("freelist"),
    ),
    guard(
        "exceptions: what was set is put back",
        "base/oserr.h",
        "        PyException_SetContext(later, exc);",
        "        Py_DECREF(exc);",
        unit("os/test_interrupts.py", "own_as_context"),
    ),
    guard(
        "poll: a start by another thread wakes it",
        "poll/watch.c",
        "        lm_poll_wake(poll);",
        "        ;",
        unit("net/test_readers.py", "another_thread"),
        hangs=True,
    ),
    guard(
        "poll: a call from another thread wakes it",
        "core/ready.h",
        "        lm_poll_wake(&loop->poll);",
        "        ;",
        unit("core/test_threadsafe.py", "wakes_a_sleeping_loop"),
        calls("threads"),
        hangs=True,
    ),
    guard(
        "poll: one wake-up ends, the next is sent",
        "poll/wake.c",
        "        LM_STORE(poll->is_woken, 0);",
        "        ;",
        unit("core/test_threadsafe.py", "wakes_a_sleeping_loop"),
        calls("threads"),
        hangs=True,
    ),
    guard(
        "poll: its own descriptors are closed",
        "poll/wake.c",
        "    if (poll->wake.fd >= 0) {",
        "    if (0) {",
        leaks("loops"),
    ),
    guard(
        "poll: a child makes its own",
        "poll/poll.c",
        "    if (lm_poll_is_parents(poll) && leave_parent(poll) < 0) {",
        "    if (0 && leave_parent(poll) < 0) {",
        unit("poll/test_kernel_faults.py", "set_of_its_own"),
        unit("poll/test_kernel_faults.py", "fork or child"),
    ),
    guard(
        "poll: a watch of a number with another owner is left",
        "poll/watch.c",
        "else if (watch->is_users && !is_watched(poll, watch->fd)) {",
        "else if (watch->is_users) {",
        unit("net/test_fd_next.py", "lost_its_number"),
    ),
    guard(
        "once: the generation of a registration",
        "poll/once.c",
        "once != NULL && once->generation == (uint32_t)(data >> 32) ? once : NULL;",
        "once;",
        unit("net/test_fd_next.py", "told_of_a_number_before"),
    ),
    guard(
        "once: the other direction is armed again",
        "poll/once.c",
        "    if (once->wanted != 0 && tell_wanted(set, once) < 0) {",
        "    if (0) {",
        unit("net/test_sock_wait.py", "both_directions"),
        hangs=True,
    ),
    guard(
        "turn: what is scheduled waits for the next one",
        "core/run.c",
        "    while (count-- > 0 && lm_ring_length(&loop->ready) > 0) {",
        "    while (lm_ring_length(&loop->ready) > 0) {",
        unit("core/test_turn_order.py", "made_due_by_a_callback and loopmod-normal-1"),
        unit("core/test_turn_order.py"),
    ),
    guard(
        "turn: the kernel is asked beside busy callbacks",
        "core/run.c",
        "loop->turns_unpolled < MOST_TURNS_UNPOLLED && has_time_left(loop);",
        "1;",
        unit("net/test_readers.py", "beside_busy_callbacks"),
    ),
    guard(
        "handle: cancelled ones do not run",
        "core/handle.c",
        "    if (LM_LOAD(h->is_cancelled) || LM_UNLIKELY(!lm_handle_is_whole(h))) {",
        "    if (0) {",
        unit("core/test_handles.py"),
        memory=True,
    ),
    hold(
        "handle: the argument of a call is held",
        "core/handle.c",
        ("    PyObject *arg0 = Py_XNewRef(h->args[0]);", "    PyObject *arg0 = NULL;"),
        ("    Py_XDECREF(arg0);\n", "    (void)arg0;\n"),
        unit("core/test_handles.py", "argument_lives"),
    ),
    guard(
        "loop: the thread of a call in debug mode",
        "core/loop.c",
        "    if (!lm_loop_runs_elsewhere(loop)) {",
        "    if (1) {",
        unit("core/test_debug_mode.py"),
    ),
    guard(
        "loop: one thread runs it",
        "core/run.c",
        "    if (LM_UNLIKELY(!may_poll(loop))) {",
        "    if (0) {",
        adversary("two_threads_select"),
        adversary("two_threads_run"),
    ),
    guard(
        "future: done once",
        "task/future.c",
        '    if (f->state != LM_PENDING) {\n        PyErr_SetString(f->st->InvalidStateError, "invalid state");\n'
        "        return -1;\n    }\n    return 0;",
        "    return 0;",
        unit("task/test_future.py"),
        TASKS,
    ),
    guard(
        "task: a cancellation is delivered once",
        "task/step.c",
        "    t->must_cancel = 0;\n    return 0;\n}",
        "    return 0;\n}",
        unit("task/test_task_cancel.py"),
        TASKS,
    ),
    guard(
        "task: a step of a task that is done",
        "task/step.c",
        "    if (LM_UNLIKELY(t->future.state != LM_PENDING || t->coro == NULL)) {",
        "    if (0) {",
        unit("task/test_task_step.py", "done_takes_no_step"),
        adversary("wakeup_reentry"),
        memory=True,
    ),
    hold(
        "task: what is awaited is held while it gives its exception",
        "task/step.c",
        ("    Py_INCREF(awaited);\n    leave_native(t);", "    leave_native(t);"),
        ("    Py_DECREF(awaited);\n    return exc;", "    return exc;"),
        adversary("held_calls"),
        unit("task/test_future_evil.py"),
        adversary("traceback_ends_future"),
    ),
    guard(
        "transport: connection_lost once",
        "net/transport.c",
        "    if (t->loop == NULL || t->is_finished) {",
        "    if (t->loop == NULL) {",
        adversary("connection_lost_twice"),
        unit("net/test_transport_protocol.py"),
    ),
    guard(
        "transport: whose number it is",
        "net/transport.h",
        "    return LM_LIKELY(*t->own_fd == t->fd);",
        "    return 1;",
        unit("net/test_fd_taken.py"),
        unit("net/test_fd_owner.py"),
    ),
    guard(
        "transport: an ending one leaves another's number",
        "net/readers.c",
        "    if (fd < 0 || lm_readers_owner(loop, fd) != transport) {",
        "    if (fd < 0) {",
        unit("net/test_fd_owner.py"),
        adversary("finalized_transport_owner"),
        adversary("stale_reader_fd_reuse"),
        unit("net/test_fd_next.py"),
    ),
    guard(
        "stream: the rest of a short write is watched for",
        "net/stream_send.c",
        "    return lm_transport_start_writing(self) < 0 ? -1 : lm_flow_maybe_pause(self);",
        "    return lm_flow_maybe_pause(self);",
        calls("tcp"),
        unit("net/test_transport_write.py", "queued_mutable_data"),
        MODEL,
        hangs=True,
    ),
    guard(
        "stream: the rest of a short write is what was not sent",
        "net/outbuf.c",
        "            piece->data += bytes;",
        "            ;",
        calls("tcp"),
        played("outbuf"),
        MODEL,
    ),
    guard(
        "stream: what is joined is sent before the end",
        "net/transport.c",
        "    if (lm_transport_settle(self) < 0) {\n        return -1;\n    }\n    if (t->is_closing) {",
        "    if (t->is_closing) {",
        unit("net/test_join.py", "in_its_turn"),
    ),
    guard(
        "stream: the end is told once",
        "net/stream_read.c",
        "would report it again. */\n    lm_transport_stop_reading(self);",
        "would report it again. */\n    ;",
        unit("core/test_nested_runs.py", "callbacks_of_protocols"),
    ),
    guard(
        "stream: a buffer of the protocol that closed us",
        "net/stream_read.c",
        "    if (t->loop == NULL && !PyErr_Occurred()) {\n        return 0;\n    }\n    return count > 0",
        "    return count > 0",
        adversary("release_buffer_ends_transport"),
        memory=True,
    ),
    guard(
        "flow: pause_writing once",
        "net/flow.c",
        "queued <= flow->marks.high) || flow->is_paused || protocol == NULL) {",
        "queued <= flow->marks.high) || protocol == NULL) {",
        unit("net/test_transport_flow.py"),
        MODEL,
    ),
    hold(
        "flow: the protocol is held while it is told",
        "net/flow.c",
        ("    Py_INCREF(protocol);\n", ""),
        ("    Py_DECREF(protocol);\n", ""),
        unit("net/test_transport_flow.py", "replaced_while"),
    ),
    guard(
        "readers: a cancelled handle is not queued",
        "net/readers.c",
        "    if (lm_handle(side->handle)->is_cancelled) {",
        "    if (0) {",
        unit("net/test_readers.py", "cancelled_handle"),
    ),
    guard(
        "sockets: a wait that could not be made",
        "net/sockops.c",
        "    if (future == NULL) {\n        return -1;\n    }\n    Py_XSETREF(op->outcome, future);",
        "    Py_XSETREF(op->outcome, future);",
        allocation("sock_calls"),
    ),
    guard(
        "kept: a loop keeps a transport once",
        "net/kept.c",
        "    if (lm_list_is_empty(&kept->link)) {\n        lm_list_push_back",
        "    {\n        lm_list_push_back",
        leaks("pipes"),
        hangs=True,  # in the list that is then a ring
    ),
    guard(
        "listener: no accepting while descriptors are out",
        "net/listener.c",
        "    case EMFILE:\n    case ENFILE:\n    case ENOBUFS:",
        "    case EMFILE: return 0;\n    case ENFILE:\n    case ENOBUFS:",
        unit("net/test_tcp_accept.py", "no_descriptors_left"),
        unit("net/test_tcp_accept.py"),
    ),
    guard(
        "TLS: the largest record",
        "tls/records.h",
        "length <= LM_RECORD_LARGEST - LM_RECORD_HEADER;",
        "length <= LM_RECORD_LARGEST;",
        played("records"),
    ),
    guard(
        "TLS: the begin of a record is put by",
        "tls/incoming.c",
        "        if (lm_rawbuf_add(&p->in.raw, raw + fed.bytes, size - fed.bytes) < 0) {",
        "        if (0) {",
        unit("tls/test_tls_peers.py", "come_in_pieces"),
        calls("tls"),
    ),
    guard(
        "TLS: close_notify is sent",
        "tls/shutdown.c",
        "    if (lm_done(PyObject_CallMethodNoArgs(p->session.object, p->st->str.unwrap)) < 0) {",
        "    if (0) {",
        unit("tls/test_tls.py", "end or close or shutdown"),
        unit("tls/test_tls_peers.py"),
    ),
    guard(
        "TLS: an end that the peer delays has a limit",
        "tls/shutdown.c",
        "    if (lm_tls_app_eof(p) < 0 || lm_tls_start_shutdown_timer(p) < 0) {",
        "    if (lm_tls_app_eof(p) < 0) {",
        unit("tls/test_tls_hostile.py", "reads_nothing"),
        hangs=True,
    ),
    guard(
        "signals: another's wake-up descriptor is put back",
        "os/signals.c",
        "    if (found >= -1 && found != mine) {",
        "    if (0) {",
        unit("os/test_interrupts.py", "wakeup_descriptor"),
    ),
    guard(
        "signals: a child does not read its parent's pipe",
        "os/signals.c",
        "loop->signals->fork_count == lm_poll_fork_count();",
        "1;",
        unit("os/test_signals.py"),
        unit("poll/test_kernel_faults.py", "fork or child"),
    ),
    guard(
        "loop: a running one is not closed",
        "face/loop_run.c",
        "    if (loop->thread_id != 0 || lm_poll_is_waited_in(&loop->poll)) {",
        "    if (0) {",
        unit("core/test_loop_subclass.py", "says_it_does_not_run"),
        adversary("two_threads_select"),
    ),
]
