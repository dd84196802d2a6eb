/* The type of the view: see view.h. */
#include "tls/view.h"

static int
view_getbuffer(PyObject *self, Py_buffer *buffer, int flags)
{
    LmView *view = (LmView *)self;
    return PyBuffer_FillInfo(buffer, self, view->data, view->size, 0, flags);
}

static void
view_dealloc(PyObject *self)
{
    lm_free_instance(self);
}

static PyType_Slot view_slots[] = {{Py_tp_doc, "Memory of a TLS operation."},
                                   {Py_tp_dealloc, view_dealloc},
                                   {Py_bf_getbuffer, view_getbuffer},
                                   {0, NULL}};

static PyType_Spec view_spec = {
    .name = "loopmod._loopmod._View",
    .basicsize = sizeof(LmView),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = view_slots,
};

int
lm_view_init(PyObject *module, LmState *st)
{
    st->ViewType = PyType_FromModuleAndSpec(module, &view_spec, NULL);
    return st->ViewType != NULL ? 0 : -1;
}

PyObject *
lm_view_new(LmState *st)
{
    PyTypeObject *type = lm_type(st->ViewType);
    PyObject *self = type->tp_alloc(type, 0);
    return self != NULL ? lm_view_at(self, "", 0) : NULL;
}
