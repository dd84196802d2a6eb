/* The lists of spare instances: none is given out twice, none is lost, none lies beyond the end.

   The list holds pointers alone: what an instance is does not matter, who it is does. */
#include "proof.h"

#include "base/freelist.c"

static void
on_release(PyObject *obj)
{
    (void)obj;
}

#ifndef CAPACITY
#define CAPACITY 4
#endif

static LmFreelist list;
static PyObject objects[CAPACITY + 1];
static PyTypeObject type;
static int was;

/* Each releasing once, the last first. */
static int released;

static void
release(PyObject *obj)
{
    HOLDS(obj == &objects[was - 1 - released], "released in turn, each once");
    released++;
}

static void
make_list(void)
{
    released = 0;
    was = (int)any_size(0, CAPACITY);
    list = (LmFreelist){NULL, was, CAPACITY, 0};
#if CAPACITY > 0
    list.items = HAVE(CAPACITY, PyObject *);
#endif
    for (int i = 0; i < CAPACITY; i++) {
        list.items[i] = &objects[i];
    }
}

static void
check(int size)
{
    HOLDS(list.size == size, "the size is that of the model");
    HOLDS(list.size <= list.capacity, "no more than there is room for");
    for (int i = 0; i < CAPACITY && i < size; i++) {
        HOLDS(list.items[i] == &objects[i], "none is lost, none is there twice");
    }
}

static void
prove_give(void)
{
    make_list();
    list.is_closed = CAPACITY == 0 && any_truth();
    int most = (int)any_size(0, 2 * CAPACITY + 1);
    if (!lm_freelist_give(&list, &objects[was], most)) {
        HOLDS(was == CAPACITY, "what has room is used");
        check(was);
        return;
    }
    HOLDS(!list.is_closed, "a closed one takes no more");
    HOLDS(was < CAPACITY || was < most, "no more memory is taken for more than most");
    check(was + 1);
    HOLDS(list.items[was] == &objects[was], "what was given lies on top");
}

static void
prove_take(void)
{
    make_list();
    PyObject *obj = lm_freelist_take(&list, &type);
    HOLDS((obj == NULL) == (was == 0), "none where none waits");
    if (obj != NULL) {
        HOLDS(obj == &objects[was - 1] && obj->ob_refcnt == 1, "the last one given");
        HOLDS(Py_TYPE(obj) == &type, "it is of the type again");
        check(was - 1);
    }
}

static void
prove_close(void)
{
    make_list();
    lm_freelist_close(&list, release);
    HOLDS(released == was && list.size == 0 && list.items == NULL, "all is freed");
    HOLDS(!lm_freelist_give(&list, &objects[0], 1), "and nothing taken any more");
}
