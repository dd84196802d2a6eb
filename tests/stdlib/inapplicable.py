"""Tests of CPython's suite that cannot apply to a loop which is not asyncio's own, each with the reason.

A test never stands here because it fails. It stands here because it reads or replaces private parts of the
standard library's own classes, is about these alone, or repeats another test on a selector that we do not have.
"""

from fnmatch import fnmatchcase

MODULES = {
    "test_proactor_events": "Windows' loop, with every part of it mocked",
    "test_selector_events": "private methods of the selector loop and its transports; mocked sockets",
    "test_windows_events": "Windows",
    "test_windows_utils": "Windows",
}

# By pattern of "module.Class.test".
TESTS = {
    "*.PollEventLoopTests.*": "the same tests as with EPollEventLoopTests, on another selector",
    "*.SelectEventLoopTests.*": "the same tests as with EPollEventLoopTests, on another selector",
    # test_base_events
    "*.BaseEventLoopTests.test_not_implemented": "BaseEventLoop's methods without a body",
    "*.BaseEventLoopTests.test__add_callback_*": "calls _add_callback",
    "*.BaseEventLoopTests.test__run_once*": "puts handles into _scheduled, counts _timer_cancelled_count",
    "*.BaseEventLoopTests.test_run_forever_pre_stopped": "counts the calls of _selector.select",
    "*.BaseEventLoopTests.test_single_selecter_event_callback_after_stopping": "replaces _process_events",
    "*.BaseEventLoopTests.test_custom_run_forever_integration": "sets _thread_id, calls _run_forever_setup",
    "*.BaseEventLoopWithSelectorTests.test_create_connection_ip_addr": "the transport gets a mock for a socket",
    "*.BaseEventLoopWithSelectorTests.test_create_connection_ipv6_scope": "the transport gets a mock for a socket",
    "*.BaseEventLoopWithSelectorTests.test_create_connection_no_inet_pton": "the transport gets a mock for a socket",
    "*.BaseEventLoopWithSelectorTests.test_create_connection_service_name": "the transport gets a mock for a socket",
    "*.BaseEventLoopWithSelectorTests.test_create_datagram_endpoint_ip_addr": "a mock for a socket",
    "*.BaseEventLoopWithSelectorTests.test_create_server_soreuseport_only_defined": "a mock for a socket",
    "*.BaseEventLoopTests.test_create_connection_happy_eyeballs*": "the transport gets a mock for a socket",
    "*.BaseLoopSockSendfileTests.test__sock_sendfile_native_failure": "of a loop that lacks the system call",
    "*.BaseLoopSockSendfileTests.test_sock_sendfile_no_fallback": "of a loop that lacks the system call",
    # test_events
    "*.test_internal_fds": "reads _internal_fds, _csock and _ssock, the self-pipe of the selector loop",
    "*.test_timeout_rounding": "counts the calls of _run_once",
    "*.TestPyGetEventLoop.*": "asyncio's Python versions of what C code calls",
    "test_graph.TestCallStackPy.*": "asyncio's Python versions of what C code calls",
    "*.Test*PyFreeThreading.test_all_tasks_from_other_thread_includes_eager_tasks": "all_tasks() without C tasks",
    "test_ssl.*.test_remote_shutdown_receives_trailing_data_on_slow_socket": "reads _read_ready_cb of the transport",
    "test_sslproto.*.test_create_connection_ssl_failed_certificate_no_cycles": "replaces SSLProtocol.connection_made",
    "test_subprocess.*.test_pid_not_reaped_before_exit_published": "reads _threads of asyncio's child watcher",
    # test_unix_events
    "*.SelectorEventLoopSignalTests.*": "replaces asyncio.unix_events.signal, calls _handle_signal",
}


def reason_against(name):
    """Why a test cannot apply, or None. `name` is "module.Class.test"."""
    for pattern, reason in TESTS.items():
        if fnmatchcase(name, pattern):
            return reason
    return None
