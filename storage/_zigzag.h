/* Avro's and Kafka's variable-length numbers: base-128, low bits first, of the zigzag of a signed number. */

#ifndef BINWIRE_ZIGZAG_H
#define BINWIRE_ZIGZAG_H

#include <stddef.h>
#include <stdint.h>

#define ZIGZAG_BYTES_MAX 10

static inline uint64_t zigzag(int64_t value) { return ((uint64_t)value << 1) ^ (value < 0 ? UINT64_MAX : 0); }

static inline size_t zigzag_bytes(int64_t value)
{
    uint64_t rest = zigzag(value);
    size_t size = 1;
    while (rest > 0x7f) {
        rest >>= 7;
        size++;
    }
    return size;
}

/* Writes at most ZIGZAG_BYTES_MAX bytes and returns where they end. */
static inline uint8_t *put_zigzag(uint8_t *at, int64_t value)
{
    uint64_t rest = zigzag(value);
    while (rest > 0x7f) {
        *at++ = (uint8_t)(rest | 0x80);
        rest >>= 7;
    }
    *at++ = (uint8_t)rest;
    return at;
}

#endif
