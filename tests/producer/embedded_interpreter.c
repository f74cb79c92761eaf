/* Runs a program in an interpreter of its own inside the process and ends it, as mod_wsgi does. */
#include <Python.h>

static PyObject *run(PyObject *self, PyObject *program)
{
    const char *text = PyUnicode_AsUTF8(program);
    if (text == NULL)
        return NULL;
    PyThreadState *outer = PyThreadState_Get();
    PyThreadState *inner = Py_NewInterpreter();
    if (inner == NULL) {
        PyThreadState_Swap(outer);
        return PyErr_Format(PyExc_RuntimeError, "no interpreter could be made");
    }
    int failed = PyRun_SimpleString(text);
    Py_EndInterpreter(inner);
    PyThreadState_Swap(outer);
    return PyLong_FromLong(failed);
}

static PyMethodDef methods[] = {{"run", run, METH_O, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "embedded_interpreter", NULL, -1, methods};

PyMODINIT_FUNC PyInit_embedded_interpreter(void) { return PyModule_Create(&module); }
