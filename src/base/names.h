/* The interned strings of the module's state: a list that is written once and gives the fields
   in state.h. */
#ifndef LM_BASE_NAMES_H
#define LM_BASE_NAMES_H

/* clang-format off */
/* Interned strings, reached as st->str.<name>. */
#define LM_STATE_STRINGS(X)                                                               \
    X(None)                                                                               \
    X(_asyncgen_finalizer_hook)                                                           \
    X(_asyncgen_firstiter_hook)                                                           \
    X(_asyncio_future_blocking)                                                           \
    X(_buffer)                                                                            \
    X(_cancelled)                                                                         \
    X(_create_task_by_factory)                                                            \
    X(_ensure_fd_no_transport)                                                            \
    X(_eof)                                                                               \
    X(_limit)                                                                             \
    X(_loop)                                                                              \
    X(_paused)                                                                            \
    X(_run)                                                                               \
    X(_run_once)                                                                          \
    X(_selector)                                                                          \
    X(_sockets)                                                                           \
    X(_stream_reader_wr)                                                                  \
    X(_transport)                                                                         \
    X(_transports)                                                                        \
    X(_waiter)                                                                            \
    X(_wakeup)                                                                            \
    X(_wakeup_waiter)                                                                     \
    X(accept)                                                                             \
    X(add_done_callback)                                                                  \
    X(buffer_updated)                                                                     \
    X(call_exception_handler)                                                             \
    X(call_at)                                                                            \
    X(call_soon)                                                                          \
    X(cancel)                                                                             \
    X(clear)                                                                              \
    X(close)                                                                              \
    X(connect)                                                                            \
    X(connection_lost)                                                                    \
    X(connection_made)                                                                    \
    X(context)                                                                            \
    X(datagram_received)                                                                  \
    X(error_received)                                                                     \
    X(create_future)                                                                      \
    X(data_received)                                                                      \
    X(detach)                                                                             \
    X(do_handshake)                                                                       \
    X(eof_received)                                                                       \
    X(feed_data)                                                                          \
    X(fileno)                                                                             \
    X(finalizer)                                                                          \
    X(firstiter)                                                                          \
    X(get_buffer)                                                                         \
    X(get_debug)                                                                          \
    X(get_loop)                                                                           \
    X(getsockopt)                                                                         \
    X(gettimeout)                                                                         \
    X(is_running)                                                                         \
    X(name)                                                                               \
    X(pause_reading)                                                                      \
    X(pause_writing)                                                                      \
    X(pop)                                                                                \
    X(read)                                                                               \
    X(recv)                                                                               \
    X(recv_into)                                                                          \
    X(recvfrom)                                                                           \
    X(recvfrom_into)                                                                      \
    X(result)                                                                             \
    X(resume_writing)                                                                     \
    X(send)                                                                               \
    X(sendmsg)                                                                            \
    X(sendto)                                                                             \
    X(set)                                                                                \
    X(setblocking)                                                                        \
    X(shutdown)                                                                           \
    X(slow_callback_duration)                                                             \
    X(throw)                                                                              \
    X(time)                                                                               \
    X(unwrap)                                                                             \
    X(write)

/* clang-format on */

#endif
