/* The Loop type: what Python sees of the engine. The table of its methods stands in
   loop_type.c; their bodies, in the other files of this room, are declared here by file. */
#ifndef LM_FACE_LOOP_TYPE_H
#define LM_FACE_LOOP_TYPE_H

#include "core/loop.h"

#define LM_VECTOR \
    PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames

int lm_loop_type_init(PyObject *module, LmState *st);

/* Gives a subclass in Python, a new reference to which it returns, the methods in descriptors
   of its own: the interpreter calls a C method directly where the instance is of the very
   class that the descriptor belongs to. NULL with an exception set, TypeError for anything
   else than a subclass. */
PyObject *lm_loop_own_methods(PyObject *module, PyObject *loop_class);

/* loop_run.c */
PyObject *lm_loop_method_run_forever(PyObject *self, PyObject *unused);
PyObject *lm_loop_method_run_nested(PyObject *self, PyObject *future);
PyObject *lm_loop_method_run_until_complete(PyObject *self, PyObject *const *args,
                                            Py_ssize_t nargs, PyObject *kwnames);
PyObject *lm_loop_method_stop(PyObject *self, PyObject *unused);
PyObject *lm_loop_method_is_running(PyObject *self, PyObject *unused);
PyObject *lm_loop_method_is_closed(PyObject *self, PyObject *unused);
PyObject *lm_loop_method_close_core(PyObject *self, PyObject *unused);
int lm_loop_set_closed(PyObject *self, PyObject *value, void *closure);
int lm_loop_set_stopping(PyObject *self, PyObject *value, void *closure);
int lm_loop_set_thread_id(PyObject *self, PyObject *value, void *closure);
PyObject *lm_loop_method_watch_signals(PyObject *self, PyObject *unused);
PyObject *lm_loop_method_unwatch_signals(PyObject *self, PyObject *unused);

/* loop_schedule.c */
PyObject *lm_loop_method_call_soon(LM_VECTOR);
PyObject *lm_loop_method_call_soon_threadsafe(LM_VECTOR);
PyObject *lm_loop_method_call_later(LM_VECTOR);
PyObject *lm_loop_method_call_at(LM_VECTOR);
PyObject *lm_loop_method_make_handle(LM_VECTOR);
PyObject *lm_loop_method_create_task(LM_VECTOR);
PyObject *lm_loop_method_create_future(PyObject *self, PyObject *unused);
PyObject *lm_loop_method_time(PyObject *self, PyObject *unused);
PyObject *lm_loop_method_get_debug(PyObject *self, PyObject *unused);

/* loop_fields.c */
extern PyGetSetDef lm_loop_getset[];

/* loop_sight.c */
PyObject *lm_loop_method_pop_ready(PyObject *self, PyObject *unused);
PyObject *lm_loop_method_push_ready(PyObject *self, PyObject *handle);
PyObject *lm_loop_method_take_timers(PyObject *self, PyObject *unused);
PyObject *lm_loop_method_put_timer(PyObject *self, PyObject *handle);
PyObject *lm_loop_method_poll(PyObject *self, PyObject *timeout);
PyObject *lm_loop_method_run_once(PyObject *self, PyObject *unused);
PyObject *lm_loop_get_ready_count(PyObject *self, void *closure);
PyObject *lm_loop_get_patched(PyObject *self, void *closure);
PyObject *lm_loop_get_had_guests(PyObject *self, void *closure);
PyObject *lm_loop_get_own_select(PyObject *self, void *closure);
int lm_loop_set_own_select(PyObject *self, PyObject *value, void *closure);

/* loop_net.c */
PyObject *lm_loop_method_add_reader(LM_VECTOR);
PyObject *lm_loop_method_add_writer(LM_VECTOR);
PyObject *lm_loop_method_watch_once(PyObject *self, PyObject *const *args,
                                    Py_ssize_t nargs);
PyObject *lm_loop_method_remove_reader(PyObject *self, PyObject *fd);
PyObject *lm_loop_method_remove_writer(PyObject *self, PyObject *fd);
PyObject *lm_loop_method_watched(PyObject *self, PyObject *fd);
PyObject *lm_loop_method_start_serving(LM_VECTOR);
PyObject *lm_loop_method_make_socket_transport(LM_VECTOR);
PyObject *lm_loop_method_make_datagram_transport(LM_VECTOR);
PyObject *lm_loop_method_make_read_pipe_transport(LM_VECTOR);
PyObject *lm_loop_method_make_write_pipe_transport(LM_VECTOR);
PyObject *lm_loop_method_look_up(PyObject *self, PyObject *args);

/* loop_socks.c */
PyObject *lm_loop_method_start_recv(PyObject *self, PyObject *const *args,
                                    Py_ssize_t nargs);
PyObject *lm_loop_method_start_recv_into(PyObject *self, PyObject *const *args,
                                         Py_ssize_t nargs);
PyObject *lm_loop_method_start_recvfrom(PyObject *self, PyObject *const *args,
                                        Py_ssize_t nargs);
PyObject *lm_loop_method_start_recvfrom_into(PyObject *self, PyObject *const *args,
                                             Py_ssize_t nargs);
PyObject *lm_loop_method_start_accept(PyObject *self, PyObject *const *args,
                                      Py_ssize_t nargs);
PyObject *lm_loop_method_start_sendall(PyObject *self, PyObject *const *args,
                                       Py_ssize_t nargs);
PyObject *lm_loop_method_start_sendto(PyObject *self, PyObject *const *args,
                                      Py_ssize_t nargs);
PyObject *lm_loop_method_start_connect(PyObject *self, PyObject *const *args,
                                       Py_ssize_t nargs);

#endif
