/* Rows events to Avro records, compiled: what `capture.transcoder` does with generated Python, byte for byte.

A Program is made of one operation per column (`capture.operation` says what each one means) and is run over all row
images of an event. Memory it writes to is one growing buffer; each record becomes a bytes object at the end.

    row image   null bitmap, one bit per column from the lowest on | the values of the columns that are not NULL
    record      00, id, `head`, images before and after the change, `tail`; lengths and numbers are zigzag varints

Invariants. The event is a stranger's: no byte is read before it is known to lie in front of the end of the images.
Nothing is judged here: what does not fit, or what only the Python path knows, makes `transcode` return None, and the
Python path says what is wrong with the event, or makes its records. So both raise the same errors.

Nothing Python is touched while images are read, save by the operations `mapped` and `called`; without these, large
events are worked on while other threads run. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>
#include <string.h>

#include "../storage/_zigzag.h"

#ifndef BINWIRE_SOURCES
#define BINWIRE_SOURCES "unknown"
#endif

#define UNLOCKED_BYTES_MIN (128 << 10)
#define DIGITS_MAX 20
#define GROUP_DIGITS 9
#define DECIMAL_PRECISION_MAX 65
#define HOURS_MAX 838
#define FSP_MAX 6
#define PADDED_BYTES_MAX 0xffff

static const int GROUP_BYTES[] = {0, 1, 1, 2, 2, 3, 3, 4, 4, 4};
static const uint32_t POWERS[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000};
static const uint32_t FRACTION_UNIT_US[] = {1, 10000, 10000, 100, 100, 1, 1};

typedef enum { DONE, REFUSED, NO_MEMORY } Outcome;

typedef enum {
    INTEGER, /* `size` bytes, `order`; detail: whether signed */
    COUNTED, /* a length of `size` bytes, and the bytes */
    PADDED,  /* the same, filled up with zeros to `detail` bytes */
    COPIED,  /* `size` bytes as they are, then `end` */
    LABEL,   /* a number of `size` bytes, looked up in `cells` */
    DECIMAL, /* size: precision, detail: scale */
    DATETIME,
    TIMESTAMP, /* size: digits of the fraction; `order` of the seconds */
    TIME,
    DATE,
    MAPPED, /* a number of `size` bytes, `order`, looked up in the Python mapping `cells` */
    CALLED, /* the Python function `cells` reads and makes the cell */
} Kind;

static const char *const KINDS[] = {"integer",   "counted", "padded", "copied", "label",  "decimal",
                                    "datetime", "timestamp", "time",   "date",   "mapped", "called"};

typedef struct {
    Kind kind;
    bool nullable, big_endian;
    size_t size, detail;
    const uint8_t *start, *end;
    Py_ssize_t start_bytes, end_bytes;
    const uint8_t **labels; /* of LABEL: the cells, one after the other */
    Py_ssize_t *label_bytes;
    Py_ssize_t label_count;
    PyObject *cells;
} Operation;

typedef struct {
    PyObject_HEAD
    Operation *operations;
    Py_ssize_t count;
    PyObject *rows; /* the operations as they were given: what they point to lives as long as the program */
    uint8_t image_start[ZIGZAG_BYTES_MAX + 1];
    size_t image_start_bytes;
    bool calls_python;
} Program;

/* One event on its way: what is left of it, and what was made of it. */
typedef struct {
    const uint8_t *at, *end;
    uint8_t *out, *out_at, *out_end;
    size_t *record_ends;
    size_t record_count, record_room;
    PyObject *data, *text; /* for CALLED, text made at the first use */
} Run;

/* ---- the buffer ---- */

static Outcome grow(Run *run, size_t bytes)
{
    size_t used = (size_t)(run->out_at - run->out), room = (size_t)(run->out_end - run->out);
    if (used > SIZE_MAX / 4 || bytes > SIZE_MAX / 4 - used)
        return NO_MEMORY;
    while (room - used < bytes)
        room = room ? room * 2 : 1 << 14;
    uint8_t *moved = PyMem_RawRealloc(run->out, room);
    if (!moved)
        return NO_MEMORY;
    run->out = moved;
    run->out_at = moved + used;
    run->out_end = moved + room;
    return DONE;
}

static inline Outcome reserve(Run *run, size_t bytes)
{
    return (size_t)(run->out_end - run->out_at) >= bytes ? DONE : grow(run, bytes);
}

/* All put_… and write_… need room that was reserved. */
static inline void put(Run *run, const void *bytes, size_t size)
{
    memcpy(run->out_at, bytes, size);
    run->out_at += size;
}

static inline void put_start(Run *run, const Operation *operation)
{
    put(run, operation->start, (size_t)operation->start_bytes);
}

static inline void put_number(Run *run, int64_t value) { run->out_at = put_zigzag(run->out_at, value); }

/* A part of a DateTime that is there: union index 1, and the number. */
static inline void put_part(Run *run, int64_t value)
{
    *run->out_at++ = 2;
    put_number(run, value);
}

static Outcome end_record(Run *run)
{
    if (run->record_count == run->record_room) {
        size_t room = run->record_room ? run->record_room * 2 : 128;
        size_t *moved = PyMem_RawRealloc(run->record_ends, room * sizeof(size_t));
        if (!moved)
            return NO_MEMORY;
        run->record_ends = moved;
        run->record_room = room;
    }
    run->record_ends[run->record_count++] = (size_t)(run->out_at - run->out);
    return DONE;
}

/* ---- the event ---- */

/* The next bytes, NULL where there are not so many. */
static inline const uint8_t *take(Run *run, size_t size)
{
    if ((size_t)(run->end - run->at) < size)
        return NULL;
    const uint8_t *taken = run->at;
    run->at += size;
    return taken;
}

static inline uint64_t little(const uint8_t *at, size_t size)
{
    uint64_t value = 0;
    while (size--)
        value = value << 8 | at[size];
    return value;
}

static inline uint64_t big(const uint8_t *at, size_t size)
{
    uint64_t value = 0;
    for (size_t index = 0; index < size; index++)
        value = value << 8 | at[index];
    return value;
}

static inline uint64_t number(const Operation *operation, const uint8_t *at)
{
    return operation->big_endian ? big(at, operation->size) : little(at, operation->size);
}

/* ---- operations ---- */

static const char PAIRS[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748"
                            "49505152535455565758596061626364656667686970717273747576777879808182838485868788899091929394959697"
                            "9899";

/* The digits of a number, written so that they end at `end`; where they begin. */
static inline char *digits_before(char *end, uint64_t value)
{
    while (value >= 100) {
        end -= 2;
        memcpy(end, PAIRS + 2 * (value % 100), 2);
        value /= 100;
    }
    if (value >= 10) {
        end -= 2;
        memcpy(end, PAIRS + 2 * value, 2);
    } else {
        *--end = (char)('0' + value);
    }
    return end;
}

static inline Outcome run_integer(const Operation *operation, Run *run)
{
    const uint8_t *at = take(run, operation->size);
    if (!at)
        return REFUSED;
    if (reserve(run, (size_t)operation->start_bytes + 1 + DIGITS_MAX))
        return NO_MEMORY;
    uint64_t value = number(operation, at);
    bool negative = operation->detail && value >> (8 * operation->size - 1);
    if (negative)
        value = (operation->size < 8 ? (uint64_t)1 << 8 * operation->size : 0) - value;
    char digits[DIGITS_MAX], *first = digits_before(digits + DIGITS_MAX, value);
    if (negative)
        *--first = '-';
    size_t size = (size_t)(digits + DIGITS_MAX - first);
    put_start(run, operation);
    put_number(run, (int64_t)size);
    put(run, first, size);
    return DONE;
}

/* A length of `operation->size` bytes, and as many bytes, at most `bytes_max`; NULL if they are not there. */
static inline const uint8_t *take_counted(Run *run, const Operation *operation, size_t bytes_max, size_t *size)
{
    const uint8_t *at = take(run, operation->size);
    *size = at ? (size_t)little(at, operation->size) : 0;
    return at && *size <= bytes_max ? take(run, *size) : NULL;
}

static inline Outcome run_counted(const Operation *operation, Run *run)
{
    size_t size;
    const uint8_t *bytes = take_counted(run, operation, SIZE_MAX, &size);
    if (!bytes)
        return REFUSED;
    if (reserve(run, (size_t)operation->start_bytes + ZIGZAG_BYTES_MAX + size))
        return NO_MEMORY;
    put_start(run, operation);
    put_number(run, (int64_t)size);
    put(run, bytes, size);
    return DONE;
}

static inline Outcome run_padded(const Operation *operation, Run *run)
{
    size_t size;
    const uint8_t *bytes = take_counted(run, operation, operation->detail, &size);
    if (!bytes)
        return REFUSED;
    if (reserve(run, (size_t)operation->start_bytes + operation->detail))
        return NO_MEMORY;
    put_start(run, operation);
    put(run, bytes, size);
    memset(run->out_at, 0, operation->detail - size);
    run->out_at += operation->detail - size;
    return DONE;
}

static inline Outcome run_copied(const Operation *operation, Run *run)
{
    const uint8_t *at = take(run, operation->size);
    if (!at)
        return REFUSED;
    if (reserve(run, (size_t)(operation->start_bytes + operation->end_bytes) + operation->size))
        return NO_MEMORY;
    put_start(run, operation);
    put(run, at, operation->size);
    put(run, operation->end, (size_t)operation->end_bytes);
    return DONE;
}

static inline Outcome run_label(const Operation *operation, Run *run)
{
    const uint8_t *at = take(run, operation->size);
    uint64_t index = at ? little(at, operation->size) : UINT64_MAX;
    if (index >= (uint64_t)operation->label_count)
        return REFUSED;
    size_t size = (size_t)operation->label_bytes[index];
    if (reserve(run, size))
        return NO_MEMORY;
    put(run, operation->labels[index], size);
    return DONE;
}

/* The decimal digits of all groups of a DECIMAL, none where a group has more than its bytes are for. */
static const char *decimal_digits(const Operation *operation, const uint8_t *at, char *digits, uint8_t flipped)
{
    size_t before = operation->size - operation->detail;
    size_t rest_before = before % GROUP_DIGITS, left = operation->size;
    uint8_t sign = 0x80;
    for (char *next = digits; left;) {
        size_t count = GROUP_DIGITS;
        if (left == operation->size && rest_before)
            count = rest_before;
        else if (left < GROUP_DIGITS)
            count = left;
        uint32_t value = 0;
        for (int byte = 0; byte < GROUP_BYTES[count]; byte++, sign = 0)
            value = value << 8 | (uint8_t)(*at++ ^ flipped ^ sign);
        if (value >= POWERS[count])
            return NULL;
        for (size_t index = count; index--; value /= 10)
            next[index] = (char)('0' + value % 10);
        next += count;
        left -= count;
    }
    return digits;
}

static inline size_t decimal_bytes(size_t digits)
{
    return 4 * (digits / GROUP_DIGITS) + (size_t)GROUP_BYTES[digits % GROUP_DIGITS];
}

static inline Outcome run_decimal(const Operation *operation, Run *run)
{
    size_t scale = operation->detail, before = operation->size - scale;
    const uint8_t *at = take(run, decimal_bytes(before) + decimal_bytes(scale));
    if (!at)
        return REFUSED;
    if (reserve(run, (size_t)operation->start_bytes + DECIMAL_PRECISION_MAX + 3 + 3 * ZIGZAG_BYTES_MAX))
        return NO_MEMORY;
    bool negative = !(*at & 0x80);
    char digits[DECIMAL_PRECISION_MAX];
    if (!decimal_digits(operation, at, digits, negative ? 0xff : 0))
        return REFUSED;
    size_t zeros = 0; /* in front */
    while (zeros < operation->size && digits[zeros] == '0')
        zeros++;
    size_t whole = zeros < before ? before - zeros : 0; /* digits before the point that are shown, but for a lone zero */
    put_start(run, operation);
    put_number(run, (int64_t)(negative + (whole ? whole : 1) + (scale ? 1 + scale : 0)));
    if (negative)
        *run->out_at++ = '-';
    if (whole)
        put(run, digits + zeros, whole);
    else
        *run->out_at++ = '0';
    if (scale) {
        *run->out_at++ = '.';
        put(run, digits + before, scale);
    }
    put_number(run, zeros < operation->size ? (int64_t)(operation->size - zeros) : 1);
    put_number(run, (int64_t)scale);
    return DONE;
}

static inline size_t fraction_bytes(size_t fsp) { return (fsp + 1) / 2; }

static inline int64_t fraction_us(const uint8_t *at, size_t fsp)
{
    return (int64_t)(big(at, fraction_bytes(fsp)) * FRACTION_UNIT_US[fsp]);
}

#define DATETIME_ROOM (7 * (1 + ZIGZAG_BYTES_MAX))

static inline Outcome run_datetime(const Operation *operation, Run *run)
{
    const uint8_t *at = take(run, 5 + fraction_bytes(operation->size));
    if (!at || !(*at & 0x80))
        return REFUSED;
    if (reserve(run, (size_t)operation->start_bytes + DATETIME_ROOM))
        return NO_MEMORY;
    uint64_t packed = big(at, 5), year_and_month = packed >> 22 & 0x1ffff;
    put_start(run, operation);
    put_part(run, (int64_t)(year_and_month / 13));
    put_part(run, (int64_t)(year_and_month % 13));
    put_part(run, packed >> 17 & 0x1f);
    put_part(run, packed >> 12 & 0x1f);
    put_part(run, packed >> 6 & 0x3f);
    put_part(run, packed & 0x3f);
    put_part(run, fraction_us(at + 5, operation->size));
    return DONE;
}

static inline Outcome run_timestamp(const Operation *operation, Run *run)
{
    const uint8_t *at = take(run, 4 + fraction_bytes(operation->size));
    if (!at)
        return REFUSED;
    if (reserve(run, (size_t)operation->start_bytes + 2 * ZIGZAG_BYTES_MAX))
        return NO_MEMORY;
    put_start(run, operation);
    put_number(run, (int64_t)(operation->big_endian ? big(at, 4) : little(at, 4)));
    put_number(run, fraction_us(at + 4, operation->size));
    return DONE;
}

static inline Outcome run_time(const Operation *operation, Run *run)
{
    size_t fsp = operation->size, size = 3 + fraction_bytes(fsp);
    const uint8_t *at = take(run, size);
    if (!at)
        return REFUSED;
    if (reserve(run, (size_t)operation->start_bytes + DATETIME_ROOM))
        return NO_MEMORY;
    int64_t packed = (int64_t)big(at, size) - ((int64_t)0x80 << 8 * (size - 1));
    int sign = packed < 0 ? -1 : 1;
    uint64_t distance = (uint64_t)(packed * sign);
    uint64_t fraction = distance & (((uint64_t)1 << 8 * (size - 3)) - 1), whole = distance >> 8 * (size - 3);
    if (whole >> 12 > HOURS_MAX)
        return REFUSED;
    put_start(run, operation);
    put_part(run, sign * (int64_t)(whole >> 12));
    put_part(run, sign * (int64_t)(whole >> 6 & 0x3f));
    put_part(run, sign * (int64_t)(whole & 0x3f));
    put_part(run, sign * (int64_t)(fraction * FRACTION_UNIT_US[fsp]));
    return DONE;
}

static inline Outcome run_date(const Operation *operation, Run *run)
{
    const uint8_t *at = take(run, 3);
    if (!at)
        return REFUSED;
    if (reserve(run, (size_t)(operation->start_bytes + operation->end_bytes) + DATETIME_ROOM))
        return NO_MEMORY;
    uint64_t packed = little(at, 3);
    put_start(run, operation);
    put_part(run, (int64_t)(packed >> 9));
    put_part(run, packed >> 5 & 0x0f);
    put_part(run, packed & 0x1f);
    put(run, operation->end, (size_t)operation->end_bytes);
    return DONE;
}

/* Latin-1 text made by Python; its errors are left for the Python path to say. */
static Outcome put_text(Run *run, PyObject *text)
{
    if (!text || !PyUnicode_Check(text) || PyUnicode_KIND(text) != PyUnicode_1BYTE_KIND) {
        PyErr_Clear();
        Py_XDECREF(text);
        return REFUSED;
    }
    size_t size = (size_t)PyUnicode_GET_LENGTH(text);
    Outcome outcome = reserve(run, size);
    if (!outcome)
        put(run, PyUnicode_1BYTE_DATA(text), size);
    Py_DECREF(text);
    return outcome;
}

static Outcome run_mapped(const Operation *operation, Run *run)
{
    const uint8_t *at = take(run, operation->size);
    PyObject *key = at ? PyLong_FromUnsignedLongLong(number(operation, at)) : NULL;
    PyObject *text = key ? PyObject_GetItem(operation->cells, key) : NULL;
    Py_XDECREF(key);
    return put_text(run, text);
}

static Outcome run_called(const Operation *operation, Run *run)
{
    const uint8_t *data = (const uint8_t *)PyBytes_AS_STRING(run->data);
    if (!run->text)
        run->text = PyUnicode_DecodeLatin1((const char *)data, PyBytes_GET_SIZE(run->data), NULL);
    PyObject *made = run->text ? PyObject_CallFunction(operation->cells, "OOn", run->data, run->text, run->at - data) : NULL;
    PyObject *text = NULL;
    Py_ssize_t reached = -1;
    if (!made || !PyArg_ParseTuple(made, "On", &text, &reached) || reached < run->at - data ||
        reached > run->end - data) {
        PyErr_Clear();
        Py_XDECREF(made);
        return REFUSED;
    }
    run->at = data + reached;
    Py_INCREF(text);
    Py_DECREF(made);
    return put_text(run, text);
}

static inline Outcome run_operation(const Operation *operation, Run *run)
{
    switch (operation->kind) {
    case INTEGER:
        return run_integer(operation, run);
    case COUNTED:
        return run_counted(operation, run);
    case PADDED:
        return run_padded(operation, run);
    case COPIED:
        return run_copied(operation, run);
    case LABEL:
        return run_label(operation, run);
    case DECIMAL:
        return run_decimal(operation, run);
    case DATETIME:
        return run_datetime(operation, run);
    case TIMESTAMP:
        return run_timestamp(operation, run);
    case TIME:
        return run_time(operation, run);
    case DATE:
        return run_date(operation, run);
    case MAPPED:
        return run_mapped(operation, run);
    case CALLED:
        return run_called(operation, run);
    }
    return REFUSED;
}

/* ---- images and records ---- */

static Outcome run_image(const Program *program, Run *run)
{
    const uint8_t *nulls = take(run, (size_t)(program->count + 7) / 8);
    if (!nulls)
        return REFUSED;
    if (reserve(run, program->image_start_bytes))
        return NO_MEMORY;
    put(run, program->image_start, program->image_start_bytes);
    for (Py_ssize_t index = 0; index < program->count; index++) {
        const Operation *operation = program->operations + index;
        Outcome outcome;
        if (nulls[index >> 3] >> (index & 7) & 1) {
            outcome = operation->nullable ? reserve(run, 1) : REFUSED;
            if (!outcome)
                *run->out_at++ = 0;
        } else {
            outcome = run_operation(operation, run);
        }
        if (outcome)
            return outcome;
    }
    if (reserve(run, 1))
        return NO_MEMORY;
    *run->out_at++ = 0; /* end of the array's blocks */
    return DONE;
}

static inline Outcome run_images(const Program *program, Run *run, bool has_before, bool has_after)
{
    Outcome outcome = DONE;
    for (int is_after = 0; !outcome && is_after < 2; is_after++) {
        if (is_after ? has_after : has_before) {
            outcome = run_image(program, run);
        } else {
            outcome = reserve(run, 1);
            if (!outcome)
                *run->out_at++ = 0; /* a null array */
        }
    }
    return outcome;
}

typedef struct {
    const void *head, *tail;
    size_t head_bytes, tail_bytes;
    int64_t first_id;
    bool has_before, has_after;
} Frame;

static Outcome run_event(const Program *program, Run *run, const Frame *frame)
{
    Outcome outcome = DONE;
    for (int64_t id = frame->first_id; !outcome && run->at < run->end; id++) {
        if (reserve(run, 1 + ZIGZAG_BYTES_MAX + frame->head_bytes))
            return NO_MEMORY;
        *run->out_at++ = 0; /* version */
        put_number(run, id);
        put(run, frame->head, frame->head_bytes);
        const uint8_t *images = run->at;
        outcome = run_images(program, run, frame->has_before, frame->has_after);
        if (!outcome && run->at == images)
            return REFUSED; /* without columns, nothing says how many rows there are */
        if (!outcome)
            outcome = reserve(run, frame->tail_bytes);
        if (!outcome) {
            put(run, frame->tail, frame->tail_bytes);
            outcome = end_record(run);
        }
    }
    return outcome;
}

/* ---- for Python ---- */

static PyObject *records_of(const Run *run)
{
    PyObject *records = PyList_New((Py_ssize_t)run->record_count);
    size_t start = 0;
    for (size_t index = 0; records && index < run->record_count; index++) {
        size_t end = run->record_ends[index];
        PyObject *record = PyBytes_FromStringAndSize((const char *)run->out + start, (Py_ssize_t)(end - start));
        if (!record)
            Py_CLEAR(records);
        else
            PyList_SET_ITEM(records, (Py_ssize_t)index, record);
        start = end;
    }
    return records;
}

static bool latin1(PyObject *text, const void **bytes, size_t *size)
{
    if (PyUnicode_KIND(text) != PyUnicode_1BYTE_KIND)
        return false;
    *bytes = PyUnicode_1BYTE_DATA(text);
    *size = (size_t)PyUnicode_GET_LENGTH(text);
    return true;
}

PyDoc_STRVAR(transcode_doc, "transcode(data, start, end, has_before, has_after, first_id, head, tail)\n--\n\n"
                            "The records of the row images in data[start:end], None where the Python path must look.");

static PyObject *Program_transcode(Program *self, PyObject *arguments)
{
    PyObject *data, *head, *tail;
    Py_ssize_t start, end;
    int has_before, has_after;
    long long first_id;
    if (!PyArg_ParseTuple(arguments, "SnnppLUU", &data, &start, &end, &has_before, &has_after, &first_id, &head, &tail))
        return NULL;
    Frame frame = {.first_id = first_id, .has_before = has_before, .has_after = has_after};
    if (start < 0 || end < start || end > PyBytes_GET_SIZE(data) || first_id < 0 || first_id > INT64_MAX - (end - start) ||
        !latin1(head, &frame.head, &frame.head_bytes) || !latin1(tail, &frame.tail, &frame.tail_bytes))
        Py_RETURN_NONE;
    const uint8_t *bytes = (const uint8_t *)PyBytes_AS_STRING(data);
    Run run = {.at = bytes + start, .end = bytes + end, .data = data};
    Outcome outcome;
    if (end - start >= UNLOCKED_BYTES_MIN && !self->calls_python) {
        Py_BEGIN_ALLOW_THREADS
        outcome = run_event(self, &run, &frame);
        Py_END_ALLOW_THREADS
    } else {
        outcome = run_event(self, &run, &frame);
    }
    PyObject *records = NULL;
    if (outcome == DONE)
        records = records_of(&run);
    else if (outcome == REFUSED)
        records = Py_NewRef(Py_None);
    else
        PyErr_NoMemory();
    Py_XDECREF(run.text);
    PyMem_RawFree(run.out);
    PyMem_RawFree(run.record_ends);
    return records;
}

static bool fits(const Operation *operation)
{
    size_t size = operation->size;
    switch (operation->kind) {
    case INTEGER:
    case MAPPED:
        return size >= 1 && size <= 8;
    case COUNTED:
        return size >= 1 && size <= 4;
    case PADDED:
        return size >= 1 && size <= 4 && operation->detail <= PADDED_BYTES_MAX;
    case LABEL:
        return (size == 1 || size == 2) && operation->label_count;
    case DECIMAL:
        return size >= 1 && size <= DECIMAL_PRECISION_MAX && operation->detail <= size;
    case DATETIME:
    case TIMESTAMP:
    case TIME:
        return size <= FSP_MAX;
    case CALLED:
        return PyCallable_Check(operation->cells);
    case COPIED:
        return size <= 8;
    case DATE:
        return true;
    }
    return false;
}

static int read_labels(Operation *operation)
{
    operation->labels = PyMem_Calloc((size_t)PyTuple_GET_SIZE(operation->cells) + 1, sizeof(*operation->labels));
    operation->label_bytes = PyMem_Calloc((size_t)PyTuple_GET_SIZE(operation->cells) + 1, sizeof(Py_ssize_t));
    if (!operation->labels || !operation->label_bytes) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t index = 0; index < PyTuple_GET_SIZE(operation->cells); index++) {
        PyObject *cell = PyTuple_GET_ITEM(operation->cells, index);
        if (!PyBytes_Check(cell)) {
            PyErr_SetString(PyExc_TypeError, "labels are bytes");
            return -1;
        }
        operation->labels[index] = (const uint8_t *)PyBytes_AS_STRING(cell);
        operation->label_bytes[index] = PyBytes_GET_SIZE(cell);
    }
    operation->label_count = PyTuple_GET_SIZE(operation->cells);
    return 0;
}

static int read_operation(Operation *operation, PyObject *row)
{
    const char *kind, *start, *end;
    Py_ssize_t size, detail;
    int nullable, big_endian;
    if (!PyTuple_Check(row)) {
        PyErr_SetString(PyExc_TypeError, "an operation is a tuple");
        return -1;
    }
    if (!PyArg_ParseTuple(row, "spnnpy#y#O", &kind, &nullable, &size, &detail, &big_endian, &start,
                          &operation->start_bytes, &end, &operation->end_bytes, &operation->cells))
        return -1;
    size_t number = 0;
    while (number < Py_ARRAY_LENGTH(KINDS) && strcmp(KINDS[number], kind))
        number++;
    operation->kind = (Kind)number;
    operation->nullable = nullable;
    operation->big_endian = big_endian;
    operation->size = (size_t)size;
    operation->detail = (size_t)detail;
    operation->start = (const uint8_t *)start;
    operation->end = (const uint8_t *)end;
    if (operation->kind == LABEL && PyTuple_Check(operation->cells) && read_labels(operation))
        return -1;
    if (number == Py_ARRAY_LENGTH(KINDS) || !fits(operation)) {
        PyErr_Format(PyExc_ValueError, "the operation %s of %zd, %zd is not known", kind, size, detail);
        return -1;
    }
    return 0;
}

static void Program_dealloc(Program *self)
{
    for (Py_ssize_t index = 0; self->operations && index < self->count; index++) {
        PyMem_Free(self->operations[index].labels);
        PyMem_Free(self->operations[index].label_bytes);
    }
    PyMem_Free(self->operations);
    Py_XDECREF(self->rows);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyObject *Program_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    PyObject *rows;
    if ((keywords && PyDict_GET_SIZE(keywords)) || !PyArg_ParseTuple(arguments, "O!:Program", &PyTuple_Type, &rows))
        return keywords && !PyErr_Occurred() ? PyErr_Format(PyExc_TypeError, "Program() takes no keywords") : NULL;
    Program *self = (Program *)type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    self->rows = Py_NewRef(rows);
    self->count = PyTuple_GET_SIZE(rows);
    self->operations = PyMem_Calloc((size_t)self->count + 1, sizeof(Operation));
    if (!self->operations) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    self->image_start[0] = 4; /* zigzag(2), the array of the union */
    self->image_start_bytes = (size_t)(put_zigzag(self->image_start + 1, self->count) - self->image_start);
    for (Py_ssize_t index = 0; index < self->count; index++) {
        Operation *operation = self->operations + index;
        if (read_operation(operation, PyTuple_GET_ITEM(rows, index))) {
            Py_DECREF(self);
            return NULL;
        }
        self->calls_python |= operation->kind == MAPPED || operation->kind == CALLED;
    }
    return (PyObject *)self;
}

static PyMethodDef Program_methods[] = {
    {"transcode", (PyCFunction)Program_transcode, METH_VARARGS, transcode_doc},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject ProgramType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "capture._rows.Program",
    .tp_doc = PyDoc_STR("Program(operations)\n--\n\nOne operation per column, run over the row images of an event."),
    .tp_basicsize = sizeof(Program),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = Program_new,
    .tp_dealloc = (destructor)Program_dealloc,
    .tp_methods = Program_methods,
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "capture._rows", .m_size = -1};

PyMODINIT_FUNC PyInit__rows(void)
{
    PyObject *made = PyModule_Create(&module);
    if (!made || PyModule_AddType(made, &ProgramType) ||
        PyModule_AddStringConstant(made, "SOURCES", BINWIRE_SOURCES)) {
        Py_XDECREF(made);
        return NULL;
    }
    return made;
}
