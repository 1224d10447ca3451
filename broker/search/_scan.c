/* Records of a batch looked through, compiled: what `broker.search.records` does, with the same results.

    find    the changes of wanted kinds and tables, with the bytes of the cells that conditions ask for
    note    the keys of all changes, as bits of a filter (`storage.search_filter`)

It judges nothing: what it does not expect makes it give None, and the Python beside it looks again and says what is
wrong. Every read is checked against the end of the bytes. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <string.h>

#include "../../storage/_zigzag.h"

#ifndef BINWIRE_SOURCES
#define BINWIRE_SOURCES "unknown"
#endif

#define FIELDS_MAX 4096 /* MySQL's most columns of a table, 4096 */
#define COLUMNS_MAX 64
#define CONTENT_BYTES_MAX 256
#define DIGITS_MAX 128
#define PROBES 10
#define KIND_MAX 16

/* ---- reading ---- */

typedef struct {
    const uint8_t *at, *end;
    int failed;
} Reader;

typedef struct {
    const uint8_t *start;
    size_t size;
} Span;

static int64_t number(Reader *reader)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (reader->at >= reader->end)
            break;
        uint8_t byte = *reader->at++;
        if (shift < 64)
            value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
    }
    reader->failed = 1;
    reader->at = reader->end;
    return 0;
}

static Span taken(Reader *reader, int64_t size)
{
    Span span = {reader->at, 0};
    if (size < 0 || size > reader->end - reader->at) {
        reader->failed = 1;
        reader->at = reader->end;
        return span;
    }
    span.size = (size_t)size;
    reader->at += size;
    return span;
}

static Span text(Reader *reader) { return taken(reader, number(reader)); }

/* The content of a cell of a class by which it is found, and its family; family 0 where there is none. */
typedef struct {
    uint8_t family;
    Span content;
} Key;

static Key cell(Reader *reader)
{
    Key key = {0, {reader->at, 0}};
    const uint8_t *start;
    switch (number(reader)) {
    case 0:
        break;
    case 1:
        number(reader);
        key.content = text(reader);
        key.family = 'n';
        break;
    case 2:
    case 8:
    case 9:
    case 10:
    case 11:
        text(reader);
        key.content = text(reader);
        key.family = 'b';
        break;
    case 3:
        key.content = text(reader);
        key.family = 'n';
        number(reader);
        number(reader);
        break;
    case 4:
        key.content = taken(reader, 8);
        key.family = 'f';
        number(reader);
        number(reader);
        break;
    case 5:
        start = reader->at;
        number(reader);
        number(reader);
        key.content = (Span){start, (size_t)(reader->at - start)};
        key.family = 'T';
        break;
    case 6:
        start = reader->at;
        for (int part = 0; part < 7; part++) {
            int64_t has = number(reader);
            if (has == 1)
                number(reader);
            else if (has)
                reader->failed = 1;
        }
        key.content = (Span){start, (size_t)(reader->at - start)};
        key.family = 'D';
        break;
    case 12:
        number(reader);
        break;
    default:
        reader->failed = 1;
        reader->at = reader->end;
    }
    return key;
}

typedef struct {
    int64_t kind;
    Span object;
    Reader behind; /* at processTimestamps */
} Head;

static Head head(Span value)
{
    Reader reader = {value.start, value.start + value.size, 0};
    Head made = {0, {NULL, 0}, reader};
    number(&reader);
    number(&reader);
    number(&reader);
    text(&reader);
    text(&reader);
    text(&reader);
    number(&reader);
    text(&reader);
    made.kind = number(&reader);
    int64_t has = number(&reader);
    if (has == 1)
        made.object = text(&reader);
    else if (has)
        reader.failed = 1;
    if (made.kind < 0 || made.kind > KIND_MAX)
        reader.failed = 1;
    made.behind = reader;
    return made;
}

/* From processTimestamps to the first field; the number of fields, 0 where there are none, -1 if they are not as
   expected. */
static int64_t fields(Reader *reader)
{
    if (number(reader)) /* nothing writes them */
        reader->failed = 1;
    int64_t tags = number(reader);
    if (tags < 0)
        reader->failed = 1;
    for (int64_t index = 0; index < tags && !reader->failed; index++) {
        text(reader);
        text(reader);
    }
    if (tags > 0 && number(reader))
        reader->failed = 1;
    int64_t has = number(reader);
    if (reader->failed || (has && has != 2))
        return -1;
    int64_t count = has ? number(reader) : 0;
    return count < 0 || count > FIELDS_MAX ? -1 : count;
}

/* The next record of a batch; 0 if it is not as expected. */
static int next_record(Reader *records, Span *value, int64_t *time_delta, int64_t *offset_delta)
{
    Span record = text(records);
    Reader reader = {record.start, record.start + record.size, records->failed};
    taken(&reader, 1);
    *time_delta = number(&reader);
    *offset_delta = number(&reader);
    int64_t key_bytes = number(&reader);
    if (key_bytes >= 0)
        taken(&reader, key_bytes);
    int64_t value_bytes = number(&reader);
    *value = taken(&reader, value_bytes < 0 ? 0 : value_bytes);
    return !reader.failed;
}

/* ---- find ---- */

/* A number's digits without what does not change its value; the size, 0 if it is no plain number. */
static size_t normalized(Span digits, uint8_t *to)
{
    const uint8_t *at = digits.start, *end = at + digits.size;
    size_t size = 0;
    int is_negative = at < end && *at == '-', has_point = 0;
    at += is_negative;
    if (digits.size > DIGITS_MAX - 2 || at == end)
        return 0;
    for (const uint8_t *each = at; each < end; each++) {
        if (*each == '.' && !has_point)
            has_point = 1;
        else if (*each < '0' || *each > '9')
            return 0;
    }
    while (at < end && *at == '0')
        at++;
    if (has_point) {
        while (end[-1] == '0')
            end--;
        if (end[-1] == '.')
            end--;
    }
    if (end <= at) {
        to[0] = '0';
        return 1;
    }
    if (is_negative)
        to[size++] = '-';
    if (*at == '.')
        to[size++] = '0';
    memcpy(to + size, at, (size_t)(end - at));
    return size + (size_t)(end - at);
}

typedef struct {
    unsigned long kinds;
    Span database, table; /* start NULL: any */
    Py_ssize_t count;
    Span columns[COLUMNS_MAX];
    PyObject *contents[COLUMNS_MAX]; /* a tuple of bytes, family and content, of which a cell must have one; or NULL */
    int has_contents;
} Question;

static int same(Span left, Span right)
{
    return left.size == right.size && (!left.size || !memcmp(left.start, right.start, left.size));
}

static int is_wanted(const Question *question, const Head *record)
{
    if (!(question->kinds >> record->kind & 1))
        return 0;
    if (!question->database.start && !question->table.start)
        return 1;
    if (!record->object.start)
        return 0;
    const uint8_t *dot = record->object.size ? memchr(record->object.start, '.', record->object.size) : NULL;
    Span database = record->object, table = {NULL, 0};
    if (dot) {
        database.size = (size_t)(dot - record->object.start);
        table.start = dot + 1;
        table.size = record->object.size - database.size - 1;
    }
    if (question->database.start && !same(question->database, database))
        return 0;
    return !question->table.start || (table.start && same(question->table, table));
}

/* Whether a cell has one of these contents. */
static int is_one_of(Key key, PyObject *contents)
{
    uint8_t digits[DIGITS_MAX];
    size_t size = key.family == 'n' ? normalized(key.content, digits) : 0;
    Span content = size ? (Span){digits, size} : key.content;
    for (Py_ssize_t index = 0; index < PyTuple_GET_SIZE(contents); index++) {
        PyObject *each = PyTuple_GET_ITEM(contents, index);
        const uint8_t *bytes = (const uint8_t *)PyBytes_AS_STRING(each);
        if ((size_t)PyBytes_GET_SIZE(each) == content.size + 1 && bytes[0] == key.family &&
            !memcmp(bytes + 1, content.start, content.size))
            return 1;
    }
    return 0;
}

/* Whether the cells of an image have the contents that are asked for; 0 if there is no image. */
static int image_may_fit(const Question *question, Reader *reader, int64_t count, const int16_t *wanted)
{
    int64_t has = number(reader);
    if (!has)
        return 0;
    if (has != 2 || number(reader) != count) {
        reader->failed = 1;
        return 0;
    }
    Py_ssize_t missing = 0;
    for (Py_ssize_t column = 0; column < question->count; column++)
        missing += question->contents[column] != NULL;
    for (int64_t index = 0; index < count && !reader->failed; index++) {
        Key key = cell(reader);
        for (Py_ssize_t column = 0; column < question->count; column++)
            if (wanted[column] == index && question->contents[column] && key.family &&
                is_one_of(key, question->contents[column]))
                missing--;
    }
    if (number(reader))
        reader->failed = 1;
    return !missing;
}

/* The cells of an image that are asked for, as a tuple of bytes (None: no such column); None if there is no image.
   NULL with an exception, or with the reader failed. */
static PyObject *image(Reader *reader, int64_t count, const int16_t *wanted, Py_ssize_t columns)
{
    int64_t has = number(reader);
    if (!has && !reader->failed)
        Py_RETURN_NONE;
    if (has != 2 || (count && number(reader) != count)) {
        reader->failed = 1;
        return NULL;
    }
    PyObject *cells = PyTuple_New(columns);
    if (!cells)
        return NULL;
    for (Py_ssize_t column = 0; column < columns; column++) {
        Py_INCREF(Py_None);
        PyTuple_SET_ITEM(cells, column, Py_None);
    }
    for (int64_t index = 0; index < count; index++) {
        const uint8_t *start = reader->at;
        cell(reader);
        if (reader->failed)
            break;
        for (Py_ssize_t column = 0; column < columns; column++) {
            if (wanted[column] != index)
                continue;
            PyObject *bytes = PyBytes_FromStringAndSize((const char *)start, reader->at - start);
            if (!bytes) {
                Py_DECREF(cells);
                return NULL;
            }
            PyTuple_SetItem(cells, column, bytes);
        }
    }
    if (number(reader) || reader->failed) {
        reader->failed = 1;
        Py_DECREF(cells);
        return NULL;
    }
    return cells;
}

/* Both images; 0 with an exception, with the reader failed, or without anything where no image can fit. */
static int images(const Question *question, Reader *reader, PyObject **before, PyObject **after)
{
    int16_t wanted[COLUMNS_MAX];
    int64_t count = fields(reader);
    *before = *after = NULL;
    if (count < 0) {
        reader->failed = 1;
        return 0;
    }
    memset(wanted, 0xff, sizeof wanted);
    for (int64_t index = 0; index < count && !reader->failed; index++) {
        Span name = text(reader);
        number(reader);
        for (Py_ssize_t column = 0; column < question->count; column++)
            if (same(question->columns[column], name))
                wanted[column] = (int16_t)index;
    }
    if (!count && question->has_contents)
        return 0;
    if (!count) {
        Py_INCREF(Py_None);
        Py_INCREF(Py_None);
        *before = *after = Py_None;
        return !reader->failed;
    }
    if (reader->failed || number(reader)) {
        reader->failed = 1;
        return 0;
    }
    if (question->has_contents) {
        Reader ahead = *reader;
        int may_fit = image_may_fit(question, &ahead, count, wanted);
        may_fit |= image_may_fit(question, &ahead, count, wanted);
        reader->failed |= ahead.failed;
        if (!may_fit || reader->failed)
            return 0;
    }
    *before = image(reader, count, wanted, question->count);
    *after = *before ? image(reader, count, wanted, question->count) : NULL;
    if (*after)
        return 1;
    Py_CLEAR(*before);
    return 0;
}

static int read_contents(Question *question, PyObject *contents)
{
    if (PyTuple_GET_SIZE(contents) != question->count) {
        PyErr_SetString(PyExc_ValueError, "contents for each column, or None");
        return 0;
    }
    for (Py_ssize_t index = 0; index < question->count; index++) {
        PyObject *each = PyTuple_GET_ITEM(contents, index);
        if (each == Py_None)
            continue;
        int is_right = PyTuple_Check(each);
        for (Py_ssize_t number = 0; is_right && number < PyTuple_GET_SIZE(each); number++)
            is_right = PyBytes_Check(PyTuple_GET_ITEM(each, number)) && PyBytes_GET_SIZE(PyTuple_GET_ITEM(each, number));
        if (!is_right) {
            PyErr_SetString(PyExc_TypeError, "contents are bytes that begin with a family");
            return 0;
        }
        question->contents[index] = each;
        question->has_contents = 1;
    }
    return 1;
}

static int read_question(Question *question, PyObject *database, PyObject *table, PyObject *columns)
{
    PyObject *names[2] = {database, table};
    Span *spans[2] = {&question->database, &question->table};
    for (int index = 0; index < 2; index++) {
        if (names[index] == Py_None)
            continue;
        if (!PyBytes_Check(names[index])) {
            PyErr_SetString(PyExc_TypeError, "a name is bytes");
            return 0;
        }
        *spans[index] = (Span){(const uint8_t *)PyBytes_AS_STRING(names[index]), (size_t)PyBytes_GET_SIZE(names[index])};
    }
    question->count = PyTuple_GET_SIZE(columns);
    if (question->count > COLUMNS_MAX) {
        PyErr_SetString(PyExc_ValueError, "more columns than can be asked for");
        return 0;
    }
    for (Py_ssize_t index = 0; index < question->count; index++) {
        PyObject *name = PyTuple_GET_ITEM(columns, index);
        if (!PyBytes_Check(name)) {
            PyErr_SetString(PyExc_TypeError, "a name is bytes");
            return 0;
        }
        question->columns[index] = (Span){(const uint8_t *)PyBytes_AS_STRING(name), (size_t)PyBytes_GET_SIZE(name)};
    }
    return 1;
}

PyDoc_STRVAR(find_doc, "find(records, count, from_delta, to_delta, kinds, database, table, columns, contents)\n--\n\n"
                       "The records that are wanted, oldest first, or None where Python is to look. Those are left out\n"
                       "of which no image has, of each column with contents, one of these.");

static PyObject *find(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    Py_buffer buffer;
    Py_ssize_t count;
    long long from_delta, to_delta;
    PyObject *database, *table, *columns, *contents, *found = NULL;
    Question question = {0};
    if (!PyArg_ParseTuple(arguments, "y*nLLkOOO!O!:find", &buffer, &count, &from_delta, &to_delta, &question.kinds,
                          &database, &table, &PyTuple_Type, &columns, &PyTuple_Type, &contents))
        return NULL;
    if (read_question(&question, database, table, columns) && read_contents(&question, contents))
        found = PyList_New(0);
    const uint8_t *base = buffer.buf;
    Reader records = {base, base + buffer.len, 0};
    for (Py_ssize_t index = 0; found && index < count; index++) {
        Span value;
        int64_t time_delta, offset_delta;
        if (!next_record(&records, &value, &time_delta, &offset_delta))
            goto unexpected;
        if (time_delta < from_delta || time_delta > to_delta)
            continue;
        Head record = head(value);
        if (record.behind.failed)
            goto unexpected;
        if (!is_wanted(&question, &record))
            continue;
        PyObject *before = Py_None, *after = Py_None;
        if (question.count) {
            if (!images(&question, &record.behind, &before, &after)) {
                if (PyErr_Occurred()) {
                    Py_CLEAR(found);
                    break;
                }
                if (!record.behind.failed)
                    continue;
                goto unexpected;
            }
        } else {
            Py_INCREF(Py_None);
            Py_INCREF(Py_None);
        }
        Py_ssize_t start = value.start - base;
        PyObject *item = Py_BuildValue("LLnnLNN", (long long)offset_delta, (long long)time_delta, start,
                                       start + (Py_ssize_t)value.size, (long long)record.kind, before, after);
        if (!item || PyList_Append(found, item))
            Py_CLEAR(found);
        Py_XDECREF(item);
    }
    PyBuffer_Release(&buffer);
    return found;
unexpected:
    PyBuffer_Release(&buffer);
    Py_DECREF(found);
    Py_RETURN_NONE;
}

/* ---- note ---- */

#define FNV_BASIS 0xcbf29ce484222325u
#define FNV_PRIME 0x100000001b3u

static uint64_t hashed(uint64_t state, const uint8_t *bytes, size_t size)
{
    for (size_t index = 0; index < size; index++)
        state = (state ^ bytes[index]) * FNV_PRIME;
    return state;
}

static uint64_t mixed(uint64_t state)
{
    state ^= state >> 33;
    state *= 0xff51afd7ed558ccdu;
    state ^= state >> 33;
    state *= 0xc4ceb9fe1a85ec53u;
    return state ^ state >> 33;
}

typedef struct {
    uint8_t *rows;
    uint64_t mask;
    uint8_t bit;
    Py_ssize_t added;
} Filter;

static void enter(Filter *filter, uint64_t state)
{
    uint64_t hash = mixed(state), step = hash >> 32 | 1;
    int is_new = 0;
    for (int probe = 0; probe < PROBES; probe++) {
        uint8_t *row = filter->rows + ((hash + (uint64_t)probe * step) & filter->mask);
        is_new |= !(*row & filter->bit);
        *row |= filter->bit;
    }
    filter->added += is_new;
}

/* The state behind a cell's content, 0 where the cell has no key. */
static uint64_t keyed(uint64_t state, Key key)
{
    uint8_t digits[DIGITS_MAX];
    if (!key.family || key.content.size > CONTENT_BYTES_MAX)
        return 0;
    state = hashed(state, &key.family, 1);
    if (key.family == 'n') {
        size_t size = normalized(key.content, digits);
        return size ? hashed(state, digits, size) : hashed(state, key.content.start, key.content.size);
    }
    return hashed(state, key.content.start, key.content.size);
}

typedef struct {
    Span fields; /* of the record before; its names' states are those in `names` */
    int64_t count;
    uint64_t names[FIELDS_MAX], last[FIELDS_MAX];
} Memory;

static int note_names(Memory *memory, Reader *reader, int64_t count)
{
    const uint8_t *start = reader->at;
    size_t known = memory->fields.size;
    if (known && count == memory->count && known <= (size_t)(reader->end - start) &&
        !memcmp(start, memory->fields.start, known)) {
        reader->at += known;
        return 1;
    }
    memory->fields.size = 0;
    for (int64_t index = 0; index < count && !reader->failed; index++) {
        static const uint8_t separator = 0xff;
        Span name = text(reader);
        number(reader);
        memory->names[index] = hashed(hashed(FNV_BASIS, name.start, name.size), &separator, 1);
        memory->last[index] = 0;
    }
    if (number(reader) || reader->failed)
        return 0;
    memory->count = count;
    memory->fields = (Span){start, (size_t)(reader->at - start)};
    return 1;
}

static int note_image(Filter *filter, Memory *memory, Reader *reader)
{
    int64_t has = number(reader);
    if (!has)
        return !reader->failed;
    if (has != 2 || number(reader) != memory->count)
        return 0;
    for (int64_t index = 0; index < memory->count && !reader->failed; index++) {
        uint64_t state = keyed(memory->names[index], cell(reader));
        if (state && state != memory->last[index]) {
            enter(filter, state);
            memory->last[index] = state;
        }
    }
    return !number(reader) && !reader->failed;
}

static void note_object(Filter *filter, const Head *record)
{
    uint8_t kind[2] = {'k', (uint8_t)record->kind}, family[2] = {'d', 't'};
    enter(filter, hashed(FNV_BASIS, kind, 2));
    if (!record->object.start)
        return;
    const uint8_t *dot = record->object.size ? memchr(record->object.start, '.', record->object.size) : NULL;
    size_t size = dot ? (size_t)(dot - record->object.start) : record->object.size;
    enter(filter, hashed(hashed(FNV_BASIS, family, 1), record->object.start, size));
    if (dot)
        enter(filter, hashed(hashed(FNV_BASIS, family + 1, 1), dot + 1, record->object.size - size - 1));
}

static int note_records(Filter *filter, Memory *memory, Reader *records, Py_ssize_t count, int64_t times[2])
{
    Head last = {-1, {NULL, 0}, {NULL, NULL, 0}};
    for (Py_ssize_t index = 0; index < count; index++) {
        Span value;
        int64_t time_delta, offset_delta;
        if (!next_record(records, &value, &time_delta, &offset_delta))
            return 0;
        if (!index || time_delta < times[0])
            times[0] = time_delta;
        if (!index || time_delta > times[1])
            times[1] = time_delta;
        Head record = head(value);
        if (record.behind.failed)
            return 0;
        if (record.kind != last.kind || !record.object.start != !last.object.start || !same(record.object, last.object))
            note_object(filter, &record);
        last = record;
        Reader *reader = &record.behind;
        int64_t field_count = fields(reader);
        if (field_count < 0)
            return 0;
        if (field_count && (!note_names(memory, reader, field_count) || !note_image(filter, memory, reader) ||
                            !note_image(filter, memory, reader)))
            return 0;
    }
    return 1;
}

PyDoc_STRVAR(note_doc, "note(records, count, rows, bit)\n--\n\n"
                       "Set a bit in the rows of every key; how many were new, and the least and greatest time delta. "
                       "None where Python is to look: what was set stays.");

static PyObject *note(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    Py_buffer buffer, rows;
    Py_ssize_t count;
    int bit;
    if (!PyArg_ParseTuple(arguments, "y*nw*i:note", &buffer, &count, &rows, &bit))
        return NULL;
    PyObject *made = NULL;
    size_t row_count = (size_t)rows.len;
    Memory *memory = PyMem_Calloc(1, sizeof(Memory));
    if (!memory) {
        PyErr_NoMemory();
    } else if (!row_count || row_count & (row_count - 1) || bit < 0 || bit > 7) {
        PyErr_SetString(PyExc_ValueError, "rows are bytes, as many as a power of two");
    } else {
        Filter filter = {rows.buf, row_count - 1, (uint8_t)(1 << bit), 0};
        Reader records = {buffer.buf, (const uint8_t *)buffer.buf + buffer.len, 0};
        int64_t times[2] = {0, 0};
        if (note_records(&filter, memory, &records, count, times)) {
            made = Py_BuildValue("nLL", filter.added, (long long)times[0], (long long)times[1]);
        } else {
            Py_INCREF(Py_None);
            made = Py_None;
        }
    }
    PyMem_Free(memory);
    PyBuffer_Release(&buffer);
    PyBuffer_Release(&rows);
    return made;
}

static PyMethodDef methods[] = {
    {"find", find, METH_VARARGS, find_doc},
    {"note", note, METH_VARARGS, note_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "broker.search._scan", .m_size = -1, .m_methods = methods};

PyMODINIT_FUNC PyInit__scan(void)
{
    PyObject *made = PyModule_Create(&module);
    if (made && PyModule_AddStringConstant(made, "SOURCES", BINWIRE_SOURCES)) {
        Py_DECREF(made);
        return NULL;
    }
    return made;
}
