/* What builds without the GIL need, and what is nothing with it: words that several threads
   look at, a lock, and who the calling thread is. Relies on lm.h. */
#ifndef LM_BASE_THREADS_H
#define LM_BASE_THREADS_H

#include "base/lm.h"

#ifdef Py_GIL_DISABLED
#include <pthread.h>
#include <time.h>
#endif

/* A word that another thread may write, and one that it may read meanwhile. */
#ifdef Py_GIL_DISABLED
#define LM_FREE_THREADED 1
#define LM_LOAD(place) __atomic_load_n(&(place), __ATOMIC_RELAXED)
#define LM_LOAD_ACQUIRE(place) __atomic_load_n(&(place), __ATOMIC_ACQUIRE)
#define LM_STORE(place, value) __atomic_store_n(&(place), (value), __ATOMIC_RELAXED)
#define LM_STORE_RELEASE(place, value) \
    __atomic_store_n(&(place), (value), __ATOMIC_RELEASE)
#define LM_ADD(place, value) __atomic_add_fetch(&(place), (value), __ATOMIC_ACQ_REL)
#else
#define LM_FREE_THREADED 0
#define LM_LOAD(place) (place)
#define LM_LOAD_ACQUIRE(place) (place)
#define LM_STORE(place, value) ((void)((place) = (value)))
#define LM_STORE_RELEASE(place, value) ((void)((place) = (value)))
#define LM_ADD(place, value) ((place) += (value))
#endif

/* The same of a double. */
static inline double
lm_load_double(const double *place)
{
#if LM_FREE_THREADED
    double value;
    __atomic_load(place, &value, __ATOMIC_RELAXED);
    return value;
#else
    return *place;
#endif
}

static inline void
lm_store_double(double *place, double value)
{
#if LM_FREE_THREADED
    __atomic_store(place, &value, __ATOMIC_RELAXED);
#else
    *place = value;
#endif
}

/* What two threads do not write, or write and read, on the same line. */
#define LM_CACHE_LINE 64

/* A short stretch of C code that runs no Python and waits for nothing. All zero is unlocked.
   Not PyMutex, which lets go of the critical sections of the thread that waits for it: they
   are held here where a caller counts on that (core/patched.c). */
#if LM_FREE_THREADED
typedef pthread_mutex_t LmMutex;

static inline void
lm_lock(LmMutex *mutex)
{
    pthread_mutex_lock(mutex);
}

static inline void
lm_unlock(LmMutex *mutex)
{
    pthread_mutex_unlock(mutex);
}

#ifndef __has_builtin
#define __has_builtin(name) 0
#endif

/* The calling thread: differs from that of every other thread that lives, and is not 0. */
static inline uintptr_t
lm_this_thread(void)
{
#if __has_builtin(__builtin_thread_pointer)
    return (uintptr_t)__builtin_thread_pointer();
#else
    return (uintptr_t)PyThread_get_thread_ident();
#endif
}
#else
typedef char LmMutex;

static inline void
lm_lock(LmMutex *mutex LM_UNUSED)
{
}

static inline void
lm_unlock(LmMutex *mutex LM_UNUSED)
{
}
#endif

#if LM_FREE_THREADED
/* Between two looks at what another thread is about to do: detached, so that the world can be
   stopped meanwhile. */
static inline void
lm_nap(long ns)
{
    struct timespec left = {.tv_nsec = ns};
    Py_BEGIN_ALLOW_THREADS
    nanosleep(&left, NULL);
    Py_END_ALLOW_THREADS
}
#endif

/* The same, for others that look at the object only now and then. */
#if LM_FREE_THREADED
#define LM_BEGIN_SECTION(obj) Py_BEGIN_CRITICAL_SECTION(obj);
#define LM_END_SECTION Py_END_CRITICAL_SECTION();
#else
#define LM_BEGIN_SECTION(obj) {
#define LM_END_SECTION }
#endif

/* Of a field that threads look at which do not own the object: what stands there, as a new
   reference or NULL; and another in its place (stolen, or NULL), which returns the old. The
   owner alone writes, so that it may read without these. */
static inline PyObject *
lm_shared_get(PyObject *obj LM_UNUSED, PyObject *const *place)
{
    PyObject *found;
    LM_BEGIN_SECTION(obj)
    found = Py_XNewRef(*place);
    LM_END_SECTION
    return found;
}

static inline PyObject *
lm_shared_swap(PyObject *obj LM_UNUSED, PyObject **place, PyObject *value)
{
    PyObject *old;
    LM_BEGIN_SECTION(obj)
    old = *place;
    *place = value;
    LM_END_SECTION
    return old;
}

/* 1 with a new reference where the object, which others let go of meanwhile, still lives; it
   was noted when it was made known to them. The caller sees to it that its memory is there. */
static inline void
lm_note_borrowed(PyObject *obj LM_UNUSED)
{
#if LM_FREE_THREADED && PY_VERSION_HEX >= 0x030E0000
    PyUnstable_EnableTryIncRef(obj);
#endif
}

static inline int
lm_try_hold(PyObject *obj)
{
#if LM_FREE_THREADED && PY_VERSION_HEX >= 0x030E0000
    return PyUnstable_TryIncRef(obj);
#else
    Py_INCREF(obj);
    return 1;
#endif
}

/* 1 where the caller's is the only reference, and no other thread can get one. */
static inline int
lm_is_ours_alone(PyObject *obj)
{
#if LM_FREE_THREADED && PY_VERSION_HEX >= 0x030E0000
    return PyUnstable_Object_IsUniquelyReferenced(obj);
#else
    return Py_REFCNT(obj) == 1;
#endif
}

#endif
