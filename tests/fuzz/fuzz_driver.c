/* libFuzzer with a Python inside: each input goes to `one_input` of fuzz_entry.py as a bytes object. The counters
   are those of the extension module that it imports, compiled with -fsanitize=fuzzer-no-link: their registration
   finds libFuzzer in this program. Relies on the environment that fuzz_build.py sets. */
#include <Python.h>
#include <stdlib.h>

static PyObject *one_input;

static void
end_with_error(void)
{
    PyErr_Print();
    abort();
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    PyConfig config;
    PyConfig_InitPythonConfig(&config);
    PyStatus status = PyConfig_SetBytesString(&config, &config.program_name, getenv("FUZZ_PYTHON"));
    if (!PyStatus_Exception(status)) {
        status = Py_InitializeFromConfig(&config);
    }
    if (PyStatus_Exception(status)) {
        Py_ExitStatusException(status);
    }
    PyConfig_Clear(&config);
    PyObject *entry = PyImport_ImportModule("fuzz_entry");
    one_input = entry != NULL ? PyObject_GetAttrString(entry, "one_input") : NULL;
    if (one_input == NULL) {
        end_with_error();
    }
    return 0;
}

int
LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    PyObject *done = PyObject_CallFunction(one_input, "y#", data, (Py_ssize_t)size);
    if (done == NULL) {
        end_with_error();
    }
    Py_DECREF(done);
    return 0;
}
