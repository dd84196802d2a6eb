/* The method descriptor: see method.h. What is called otherwise than by position and in full,
   or on something else, is asyncio's function's to refuse. */
#include "sync/method.h"

#include "base/life.h"
#include "base/type_help.h"
#include "core/owner.h"
#include "sync/coro.h"
#include "sync/plain.h"

/* asyncio's functions that an operation stands for, itself and what it calls. */
#define MOST_FUNCTIONS 8

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    LmState *st; /* held */
    const LmOp *op;
    PyObject *type; /* whose method it is */
    int function_count;
    struct {
        PyObject *function;
        PyObject *code; /* at import: who exchanges it changes no class */
    } functions[MOST_FUNCTIONS];
} LmMethod;

static int
has_own_codes(const LmMethod *m)
{
    for (int i = 0; i < m->function_count; i++) {
        if (PyFunction_GET_CODE(m->functions[i].function) != m->functions[i].code) {
            return 0;
        }
    }
    return 1;
}

/* asyncio's function, with all that the method was called with. */
static PyObject *
call_stock(const LmMethod *m, PyObject *const *args, Py_ssize_t nargs,
           PyObject *kwnames)
{
    PyObject *function = lm_op_function(m->st, m->op);
    if (function == NULL) {
        return NULL;
    }
    PyObject *result = PyObject_Vectorcall(function, args, (size_t)nargs, kwnames);
    Py_DECREF(function);
    return result;
}

/* Of several arguments, as a coroutine keeps them. */
static int
pack_args(const LmMethod *m, PyObject *const *args, PyObject **packed)
{
    *packed = NULL;
    for (int i = 0; i < m->op->args; i++) {
        if (args[i] != Py_None) {
            *packed = PyTuple_New(m->op->args);
            for (int k = 0; *packed != NULL && k < m->op->args; k++) {
                PyTuple_SET_ITEM(*packed, k, Py_NewRef(args[k]));
            }
            return *packed != NULL ? 0 : -1;
        }
    }
    return 0;
}

static PyObject *
make_coroutine(const LmMethod *m, PyObject *const *args)
{
    LmLoop *loop = lm_plain_loop(m->st);
    if (loop == NULL) {
        return NULL;
    }
    if (m->op->args <= 1) {
        return lm_coro_new(loop, m->op, args[0], m->op->args > 0 ? args[1] : NULL);
    }
    PyObject *packed;
    if (pack_args(m, args + 1, &packed) < 0) {
        Py_DECREF(loop);
        return NULL;
    }
    PyObject *coro = lm_coro_new(loop, m->op, args[0], packed);
    Py_XDECREF(packed);
    return coro;
}

/* NULL without an exception where asyncio's function is to be called. */
static PyObject *
call_plain(const LmMethod *m, PyObject *const *args)
{
    if (m->op->step != NULL) {
        return make_coroutine(m, args);
    }
    PyObject *result;
    LM_BEGIN_SECTION(args[0])
    result = m->op->call(m->st, args[0], m->op->args > 0 ? args[1] : NULL);
    LM_END_SECTION
    return result;
}

static PyObject *
method_call(PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    const LmMethod *m = (LmMethod *)callable;
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf);
    if (LM_LIKELY(nargs == 1 + m->op->args && kwnames == NULL) &&
        LM_LIKELY(PyObject_TypeCheck(args[0], lm_type(m->type)))) {
        int is_plain = lm_plain_is(m->st, args[0], m->op->own, m->op->inner);
        if (LM_UNLIKELY(is_plain < 0)) {
            return NULL;
        }
        if (LM_LIKELY(is_plain) && LM_LIKELY(has_own_codes(m))) {
            PyObject *result = call_plain(m, args);
            if (LM_LIKELY(result != NULL) || PyErr_Occurred()) {
                return result;
            }
        }
    }
    return call_stock(m, args, nargs, kwnames);
}

static PyObject *
method_get(PyObject *self, PyObject *instance, PyObject *owner LM_UNUSED)
{
    return instance != NULL && instance != Py_None ? PyMethod_New(self, instance)
                                                   : Py_NewRef(self);
}

/* --- what is shown of it */

#define OF_METHOD const LmMethod *m = (LmMethod *)self

LM_GETTER(get_method_name, OF_METHOD, PyUnicode_FromString(m->op->name))
LM_GETTER(get_method_owner, OF_METHOD, Py_NewRef(m->type))
LM_GETTER(get_method_qualname, OF_METHOD,
          PyUnicode_FromFormat("%s.%s", lm_type_name(lm_type(m->type)), m->op->name))

/* The doc begins with the name and the signature in brackets. */
static PyObject *
get_method_signature(PyObject *self, void *closure LM_UNUSED)
{
    const char *doc = ((LmMethod *)self)->op->doc;
    const char *begin = strchr(doc, '(');
    const char *end = strstr(doc, "\n--\n\n");
    LM_ASSERT(begin != NULL && end != NULL);
    return PyUnicode_FromStringAndSize(begin, end - begin);
}

static PyObject *
get_method_doc(PyObject *self, void *closure LM_UNUSED)
{
    return PyUnicode_FromString(strstr(((LmMethod *)self)->op->doc, "\n--\n\n") + 5);
}

/* Which of the two, inspect's or asyncio's, the closure says. */
static PyObject *
get_method_mark(PyObject *self, void *closure)
{
    const LmMethod *m = (LmMethod *)self;
    const char *name = closure;
    Py_ssize_t index = strcmp(name, "_is_coroutine") == 0;
    PyObject *mark = PyTuple_GetItem(m->st->coroutine_marks, index);
    if (mark == NULL) {
        return NULL;
    }
    if (m->op->step == NULL || mark == Py_None) {
        PyErr_Format(PyExc_AttributeError, "'%s' object has no attribute '%s'",
                     lm_type_name(Py_TYPE(self)), name);
        return NULL;
    }
    return Py_NewRef(mark);
}

static PyGetSetDef method_getset[] = {
    {"__name__", get_method_name, NULL, NULL, NULL},
    {"__qualname__", get_method_qualname, NULL, NULL, NULL},
    {"__objclass__", get_method_owner, NULL, NULL, NULL},
    {"__doc__", get_method_doc, NULL, NULL, NULL},
    {"__text_signature__", get_method_signature, NULL, NULL, NULL},
    {"_is_coroutine_marker", get_method_mark, NULL, NULL, "_is_coroutine_marker"},
    {"_is_coroutine", get_method_mark, NULL, NULL, "_is_coroutine"},
    {NULL, NULL, NULL, NULL, NULL}};

static PyObject *
method_repr(PyObject *self)
{
    const LmMethod *m = (LmMethod *)self;
    return PyUnicode_FromFormat("<method '%s' of '%s' objects>", m->op->name,
                                lm_type_name(lm_type(m->type)));
}

static PyObject *
method_reduce(PyObject *self, PyObject *unused LM_UNUSED)
{
    const LmMethod *m = (LmMethod *)self;
    PyObject *getter = lm_state_import("builtins", "getattr");
    return getter != NULL ? Py_BuildValue("N(Os)", getter, m->type, m->op->name) : NULL;
}

static PyMethodDef method_methods[] = {
    {"__reduce__", method_reduce, METH_NOARGS,
     LM_DOC("__reduce__($self)", "Return how it is found again.")},
    {NULL, NULL, 0, NULL}};

/* --- life */

static int
method_traverse(PyObject *self, visitproc visit, void *arg)
{
    LmMethod *m = (LmMethod *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(m->type);
    for (int i = 0; i < m->function_count; i++) {
        Py_VISIT(m->functions[i].function);
        Py_VISIT(m->functions[i].code);
    }
    return 0;
}

static void
method_dealloc(PyObject *self)
{
    LmMethod *m = (LmMethod *)self;
    PyObject_GC_UnTrack(self);
    Py_XDECREF(m->type);
    for (int i = 0; i < m->function_count; i++) {
        Py_XDECREF(m->functions[i].function);
        Py_XDECREF(m->functions[i].code);
    }
    lm_state_free_instance(m->st, self);
}

static PyMemberDef method_members[] = {{"__vectorcalloffset__", T_PYSSIZET,
                                        offsetof(LmMethod, vectorcall), READONLY, NULL},
                                       {NULL, 0, 0, 0, NULL}};

/* No tp_clear: the type, which does have one, is in every circle with it. */
static PyType_Slot method_slots[] = {{Py_tp_dealloc, method_dealloc},
                                     {Py_tp_traverse, method_traverse},
                                     {Py_tp_repr, method_repr},
                                     {Py_tp_call, PyVectorcall_Call},
                                     {Py_tp_descr_get, method_get},
                                     {Py_tp_members, method_members},
                                     {Py_tp_methods, method_methods},
                                     {Py_tp_getset, method_getset},
                                     {0, NULL}};

static PyType_Spec method_spec = {
    .name = "loopmod.method",
    .basicsize = sizeof(LmMethod),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE |
             Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_HAVE_VECTORCALL |
             Py_TPFLAGS_METHOD_DESCRIPTOR,
    .slots = method_slots,
};

int
lm_method_init(PyObject *module, LmState *st)
{
    st->MethodType = PyType_FromModuleAndSpec(module, &method_spec, NULL);
    st->coroutine_marks = lm_state_support(st, "coroutine_marks", "");
    return st->MethodType != NULL && st->coroutine_marks != NULL ? 0 : -1;
}

/* Notes the function of that name in asyncio's class, where there is one. */
static int
note_function(LmMethod *m, PyObject *stock, const char *name)
{
    PyObject *function;
    int found = PyObject_GetOptionalAttrString(stock, name, &function);
    if (found <= 0) {
        return found;
    }
    if (!PyFunction_Check(function) || m->function_count == MOST_FUNCTIONS) {
        Py_DECREF(function);
        PyErr_Format(PyExc_ImportError, "asyncio's method %s is not known", name);
        return -1;
    }
    int i = m->function_count++;
    m->functions[i].function = function;
    m->functions[i].code = Py_NewRef(PyFunction_GetCode(function));
    return 0;
}

static int
note_functions(LmMethod *m)
{
#define LM_QUOTED(name) #name,
    static const char *const names[] = {LM_SYNC_NAMES(LM_QUOTED)};
#undef LM_QUOTED
    PyObject *stock = lm_op_stock(m->st, m->op);
    if (note_function(m, stock, m->op->name) < 0) {
        return -1;
    }
    for (int i = 0; i < LM_SYNC_NAME_COUNT; i++) {
        if ((m->op->inner & ~m->op->own) & 1u << i &&
            note_function(m, stock, names[i]) < 0) {
            return -1;
        }
    }
    return 0;
}

static int
add_method(LmState *st, PyObject *type, const LmOp *op)
{
    PyTypeObject *method_type = lm_type(st->MethodType);
    LmMethod *m = (LmMethod *)method_type->tp_alloc(method_type, 0);
    if (m == NULL) {
        return -1;
    }
    m->vectorcall = method_call;
    m->st = lm_state_hold(st);
    m->op = op;
    m->type = Py_NewRef(type);
    int failed = note_functions(m);
    if (failed == 0) {
        failed = PyObject_SetAttrString(type, op->name, (PyObject *)m);
    }
    Py_DECREF(m);
    return failed;
}

int
lm_method_add(LmState *st, PyObject *type, const LmOp *ops)
{
    for (; ops->name != NULL; ops++) {
        if (add_method(st, type, ops) < 0) {
            return -1;
        }
    }
    return 0;
}
