/* Makes the allocations numbered `first` to `last - 1` fail, of one of two allocators: Python's three domains, or libc's.

   One shared object of two faces: preloaded, it stands before libc's malloc, calloc, realloc and posix_memalign; imported
   (as allocation_hook, by its path), it puts itself before Python's allocators and gives the functions to arm it.

   Of libc's, only calls count that the interpreter itself does not make: those of this module, libev, OpenSSL and libc.
   What the interpreter asks libc for stands behind its own allocators, and is enumerated there, object by object; and at
   import, thread start and the like it does not survive to get none.

   What fails is noted with the C stack in shared memory, which a parent can read after the process that failed is gone;
   a signal that ends the process adds the stack where it was. */
#define _GNU_SOURCE
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <link.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>

#define DEPTH 128

enum { NONE, PYTHON, LIBC };

typedef struct {
    atomic_long seen;
    atomic_long failed;
    int failed_depth;
    int ended_depth;
    int signal;
    void *failed_at[DEPTH];
    void *ended_at[DEPTH];
} Shared;

static Shared *shared;
static volatile int armed = NONE, paused = NONE;
static long first, last;
/* The interpreter, and this library: what Python's allocators ask for comes by way of its functions, too. */
static struct {
    uintptr_t begin, end;
} others[2];

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);

static int
fails(int allocator)
{
    if (__builtin_expect(armed != allocator, 1)) {
        return 0;
    }
    long number = atomic_fetch_add(&shared->seen, 1) + 1;
    if (number < first || number >= last) {
        return 0;
    }
    if (atomic_fetch_add(&shared->failed, 1) == 0) {
        armed = NONE; /* whatever backtrace() needs */
        shared->failed_depth = backtrace(shared->failed_at, DEPTH);
        armed = allocator;
    }
    errno = ENOMEM;
    return 1;
}

/* --- libc's ----------------------------------------------------------------------------- */

#define WITHIN(where, range) ((uintptr_t)(where) - (range).begin < (range).end - (range).begin)
#define OURS(where) (!WITHIN(where, others[0]) && !WITHIN(where, others[1]))
#define LIBC_FAILS() (OURS(__builtin_return_address(0)) && fails(LIBC))

void *
malloc(size_t size)
{
    return LIBC_FAILS() ? NULL : __libc_malloc(size);
}

void *
calloc(size_t count, size_t size)
{
    return LIBC_FAILS() ? NULL : __libc_calloc(count, size);
}

void *
realloc(void *block, size_t size)
{
    return size != 0 && LIBC_FAILS() ? NULL : __libc_realloc(block, size);
}

int
posix_memalign(void **block, size_t alignment, size_t size)
{
    void *found = LIBC_FAILS() ? NULL : __libc_memalign(alignment, size);
    if (found == NULL) {
        return ENOMEM;
    }
    *block = found;
    return 0;
}

/* --- Python's --------------------------------------------------------------------------- */

static PyMemAllocatorEx below[3];

static void *
hook_malloc(void *which, size_t size)
{
    PyMemAllocatorEx *next = which;
    return fails(PYTHON) ? NULL : next->malloc(next->ctx, size);
}

static void *
hook_calloc(void *which, size_t count, size_t size)
{
    PyMemAllocatorEx *next = which;
    return fails(PYTHON) ? NULL : next->calloc(next->ctx, count, size);
}

static void *
hook_realloc(void *which, void *block, size_t size)
{
    PyMemAllocatorEx *next = which;
    return fails(PYTHON) ? NULL : next->realloc(next->ctx, block, size);
}

static void
hook_free(void *which, void *block)
{
    PyMemAllocatorEx *next = which;
    next->free(next->ctx, block);
}

/* --- what is found ---------------------------------------------------------------------- */

static void
on_end(int number)
{
    armed = NONE;
    if (shared->signal == 0) {
        shared->signal = number;
        shared->ended_depth = backtrace(shared->ended_at, DEPTH);
    }
    signal(number, SIG_DFL);
    raise(number);
}

static int
note_others(struct dl_phdr_info *info, size_t size, void *data)
{
    uintptr_t inside[] = {(uintptr_t)&PyObject_Malloc, (uintptr_t)&hook_malloc};
    for (int i = 0; i < info->dlpi_phnum; i++) {
        uintptr_t begin = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
        uintptr_t end = begin + info->dlpi_phdr[i].p_memsz;
        for (int which = 0; which < 2; which++) {
            if (inside[which] >= begin && inside[which] < end) {
                others[which].begin = begin;
                others[which].end = end;
            }
        }
    }
    return 0;
}

static PyObject *
list_of(void **frames, int depth)
{
    PyObject *list = PyList_New(0);
    for (int i = 0; list != NULL && i < depth; i++) {
        Dl_info info;
        struct link_map *map;
        int found = dladdr1(frames[i], &info, (void **)&map, RTLD_DL_LINKMAP);
        unsigned long offset = (uintptr_t)frames[i] - (found ? map->l_addr : 0);
        PyObject *pair = Py_BuildValue("(sk)", found ? info.dli_fname : "?", offset);
        if (pair == NULL || PyList_Append(list, pair) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(pair);
    }
    return list;
}

static PyObject *
hook_arm(PyObject *self, PyObject *args)
{
    int allocator;
    long from, until;
    if (!PyArg_ParseTuple(args, "ill", &allocator, &from, &until)) {
        return NULL;
    }
    first = from;
    last = until;
    Py_INCREF(Py_None);
    armed = allocator;
    return Py_None;
}

static PyObject *
hook_disarm(PyObject *self, PyObject *unused)
{
    armed = paused = NONE;
    Py_RETURN_NONE;
}

/* Around what is not to fail. */
static PyObject *
hook_pause(PyObject *self, PyObject *unused)
{
    paused = armed;
    armed = NONE;
    Py_RETURN_NONE;
}

static PyObject *
hook_resume(PyObject *self, PyObject *unused)
{
    armed = paused;
    Py_RETURN_NONE;
}

static PyObject *
hook_reset(PyObject *self, PyObject *unused)
{
    memset(shared, 0, sizeof(*shared));
    Py_RETURN_NONE;
}

static PyObject *
hook_seen(PyObject *self, PyObject *unused)
{
    return Py_BuildValue("(lli)", (long)shared->seen, (long)shared->failed, shared->signal);
}

static PyObject *
hook_failed_at(PyObject *self, PyObject *unused)
{
    return list_of(shared->failed_at, shared->failed_depth);
}

static PyObject *
hook_ended_at(PyObject *self, PyObject *unused)
{
    return list_of(shared->ended_at, shared->ended_depth);
}

/* In a child: the stack of what ends it is kept. */
static PyObject *
hook_watch_end(PyObject *self, PyObject *unused)
{
    static const int numbers[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
        signal(numbers[i], on_end);
    }
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"arm", hook_arm, METH_VARARGS, "arm(allocator, first, last)"},
    {"disarm", hook_disarm, METH_NOARGS, NULL},
    {"pause", hook_pause, METH_NOARGS, NULL},
    {"resume", hook_resume, METH_NOARGS, NULL},
    {"reset", hook_reset, METH_NOARGS, NULL},
    {"seen", hook_seen, METH_NOARGS, "How many were asked for, how many failed, the signal that ended it."},
    {"failed_at", hook_failed_at, METH_NOARGS, "The stack of the first that failed: library and offset."},
    {"ended_at", hook_ended_at, METH_NOARGS, "The stack where the process ended."},
    {"watch_end", hook_watch_end, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "allocation_hook", .m_size = -1, .m_methods = methods};

PyMODINIT_FUNC
PyInit_allocation_hook(void)
{
    void *unused[4];
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    backtrace(unused, 4); /* loads what it needs */
    dl_iterate_phdr(note_others, NULL);
    for (int domain = 0; domain < 3; domain++) {
        PyMem_GetAllocator(domain, &below[domain]);
        PyMemAllocatorEx hook = {&below[domain], hook_malloc, hook_calloc, hook_realloc, hook_free};
        PyMem_SetAllocator(domain, &hook);
    }
    return PyModule_Create(&definition);
}
