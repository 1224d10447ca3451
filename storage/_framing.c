/* Values to the records of a batch, compiled: what `storage.encoding` does with tables and lists, byte for byte.

    record  length, attributes 00, timestamp delta, offset delta, key length 01 (null), value length, value,
            header count 00; all numbers are zigzag varints

Sizes are reckoned first, so that the records are written once, into the memory that they are returned in. The header
in front of them, checksum included, is made by Python. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <string.h>

#include "_zigzag.h"

#ifndef BINWIRE_SOURCES
#define BINWIRE_SOURCES "unknown"
#endif

#define UNLOCKED_BYTES_MIN (1 << 20)
#define HEADER_BYTES_MAX 1024
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

/* The records of a batch behind `room` bytes that are not yet set; NULL with an exception. */
static PyObject *framed(PyObject *given_values, PyObject *given_timestamps, size_t room, int64_t *max_ms)
{
    /* Tuples of our own hold on to every value while other threads run. */
    PyObject *values = PySequence_Tuple(given_values), *made = NULL;
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
    Py_ssize_t total = measure(values, timestamps_ms, records, count, max_ms);
    made = total < 0 ? NULL : PyBytes_FromStringAndSize(NULL, (Py_ssize_t)room + total);
    if (!made)
        goto done;
    uint8_t *at = (uint8_t *)PyBytes_AS_STRING(made) + room;
    PyThreadState *others = total >= UNLOCKED_BYTES_MIN ? PyEval_SaveThread() : NULL;
    for (Py_ssize_t index = 0; index < count; index++)
        at = put_record(at, records + index, index);
    if (others)
        PyEval_RestoreThread(others);
done:
    PyMem_Free(records);
    Py_XDECREF(values);
    Py_XDECREF(timestamps_ms);
    return made;
}

PyDoc_STRVAR(frame_doc, "frame(values, timestamps_ms)\n--\n\n"
                        "The records of a batch with these values, and the largest timestamp. Both have one length.");

static PyObject *frame(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *values, *timestamps_ms;
    if (!PyArg_ParseTuple(arguments, "OO:frame", &values, &timestamps_ms))
        return NULL;
    int64_t max_ms = 0;
    PyObject *records = framed(values, timestamps_ms, 0, &max_ms);
    return records ? Py_BuildValue("NL", records, (long long)max_ms) : NULL;
}

PyDoc_STRVAR(batch_doc, "batch(values, timestamps_ms, header_bytes, header)\n--\n\n"
                        "A whole batch. header(batch, max_timestamp_ms) makes its first bytes of all the others.");

static PyObject *batch(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *values, *timestamps_ms, *make_header;
    Py_ssize_t header_bytes;
    if (!PyArg_ParseTuple(arguments, "OOnO:batch", &values, &timestamps_ms, &header_bytes, &make_header))
        return NULL;
    if (header_bytes < 0 || header_bytes > HEADER_BYTES_MAX)
        return PyErr_Format(PyExc_ValueError, "a header of %zd bytes", header_bytes);
    int64_t max_ms = 0;
    PyObject *made = framed(values, timestamps_ms, (size_t)header_bytes, &max_ms);
    if (!made)
        return NULL;
    memset(PyBytes_AS_STRING(made), 0, (size_t)header_bytes);
    PyObject *view = PyMemoryView_FromObject(made);
    PyObject *header = view ? PyObject_CallFunction(make_header, "OL", view, (long long)max_ms) : NULL;
    Py_XDECREF(view);
    if (header && PyBytes_Check(header) && PyBytes_GET_SIZE(header) == header_bytes) {
        memcpy(PyBytes_AS_STRING(made), PyBytes_AS_STRING(header), (size_t)header_bytes);
    } else {
        if (header)
            PyErr_SetString(PyExc_ValueError, "a header of another size than was said");
        Py_CLEAR(made);
    }
    Py_XDECREF(header);
    return made;
}

static PyMethodDef methods[] = {
    {"frame", frame, METH_VARARGS, frame_doc},
    {"batch", batch, METH_VARARGS, batch_doc},
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
