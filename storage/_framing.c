/* Values to the records of a batch, compiled: what `storage.encoding` does with tables and lists, byte for byte.

    record  length, attributes 00, timestamp delta, offset delta, key length 01 (null), value length, value,
            header count 00; all numbers are zigzag varints

Sizes are reckoned first, so that the records are written once, into the memory that they are returned in. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <string.h>

#include "_zigzag.h"

#ifndef BINWIRE_SOURCES
#define BINWIRE_SOURCES "unknown"
#endif

#define UNLOCKED_BYTES_MIN (1 << 20)
#define CONSTANT_BYTES 3 /* attributes, null key, header count */

typedef struct {
    const char *value;
    Py_ssize_t value_bytes;
    int64_t timestamp_delta;
    size_t record_bytes; /* behind the length */
} Record;

static uint8_t *put_record(uint8_t *at, const Record *record, Py_ssize_t offset_delta)
{
    at = put_zigzag(at, (int64_t)record->record_bytes);
    *at++ = 0;
    at = put_zigzag(at, record->timestamp_delta);
    at = put_zigzag(at, offset_delta);
    *at++ = 1;
    at = put_zigzag(at, record->value_bytes);
    memcpy(at, record->value, (size_t)record->value_bytes);
    at += record->value_bytes;
    *at++ = 0;
    return at;
}

/* Reads values and timestamps; the bytes that the records take, -1 with an exception. */
static Py_ssize_t measure(PyObject *values, PyObject *timestamps_ms, Record *records, Py_ssize_t count, int64_t *max_ms)
{
    PyObject *last = NULL;
    int64_t first_ms = 0, delta = 0;
    size_t total = 0;
    for (Py_ssize_t index = 0; index < count; index++) {
        PyObject *value = PyTuple_GET_ITEM(values, index), *timestamp_ms = PyTuple_GET_ITEM(timestamps_ms, index);
        if (!PyBytes_Check(value)) {
            PyErr_SetString(PyExc_TypeError, "a value is bytes");
            return -1;
        }
        if (timestamp_ms != last) {
            int64_t now_ms = PyLong_AsLongLong(timestamp_ms);
            if (now_ms == -1 && PyErr_Occurred())
                return -1;
            if (!last)
                first_ms = *max_ms = now_ms;
            if (now_ms > *max_ms)
                *max_ms = now_ms;
            delta = (int64_t)((uint64_t)now_ms - (uint64_t)first_ms);
            last = timestamp_ms;
        }
        Record *record = records + index;
        record->value = PyBytes_AS_STRING(value);
        record->value_bytes = PyBytes_GET_SIZE(value);
        record->timestamp_delta = delta;
        record->record_bytes = CONSTANT_BYTES + zigzag_bytes(delta) + zigzag_bytes(index) +
                               zigzag_bytes(record->value_bytes) + (size_t)record->value_bytes;
        total += zigzag_bytes((int64_t)record->record_bytes) + record->record_bytes;
        if (total > (size_t)PY_SSIZE_T_MAX / 2) {
            PyErr_NoMemory();
            return -1;
        }
    }
    return (Py_ssize_t)total;
}

PyDoc_STRVAR(frame_doc, "frame(values, timestamps_ms)\n--\n\n"
                        "The records of a batch with these values, and the largest timestamp. Both have one length.");

static PyObject *frame(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *given_values, *given_timestamps, *result = NULL;
    if (!PyArg_ParseTuple(arguments, "OO:frame", &given_values, &given_timestamps))
        return NULL;
    /* Tuples of our own hold on to every value while other threads run. */
    PyObject *values = PySequence_Tuple(given_values);
    PyObject *timestamps_ms = values ? PySequence_Tuple(given_timestamps) : NULL;
    Py_ssize_t count = values ? PyTuple_GET_SIZE(values) : 0;
    Record *records = NULL;
    if (!timestamps_ms)
        goto done;
    if (PyTuple_GET_SIZE(timestamps_ms) != count) {
        PyErr_SetString(PyExc_ValueError, "a timestamp for each value");
        goto done;
    }
    records = PyMem_Calloc((size_t)count + 1, sizeof(Record));
    if (!records) {
        PyErr_NoMemory();
        goto done;
    }
    int64_t max_ms = 0;
    Py_ssize_t total = measure(values, timestamps_ms, records, count, &max_ms);
    PyObject *framed = total < 0 ? NULL : PyBytes_FromStringAndSize(NULL, total);
    if (!framed)
        goto done;
    uint8_t *at = (uint8_t *)PyBytes_AS_STRING(framed);
    PyThreadState *others = total >= UNLOCKED_BYTES_MIN ? PyEval_SaveThread() : NULL;
    for (Py_ssize_t index = 0; index < count; index++)
        at = put_record(at, records + index, index);
    if (others)
        PyEval_RestoreThread(others);
    result = Py_BuildValue("NL", framed, (long long)max_ms);
done:
    PyMem_Free(records);
    Py_XDECREF(values);
    Py_XDECREF(timestamps_ms);
    return result;
}

static PyMethodDef methods[] = {
    {"frame", frame, METH_VARARGS, frame_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "storage._framing", .m_size = -1, .m_methods = methods};

PyMODINIT_FUNC PyInit__framing(void)
{
    PyObject *made = PyModule_Create(&module);
    if (made && PyModule_AddStringConstant(made, "SOURCES", BINWIRE_SOURCES)) {
        Py_DECREF(made);
        return NULL;
    }
    return made;
}
