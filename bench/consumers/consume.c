/*
 * A librdkafka consumer that reads a topic's one partition until it has a number of row changes, in its defaults but for
 * the checks here: the checksum of every batch, and that offsets follow each other. What is a row change it sees in the
 * record itself, as far as the operation: a log also has a heartbeat a second.
 *
 * Arguments: bootstrap, topic, username (which ends with the group, as DTS has it), password, rows. One line comes out:
 * the monotonic clock in nanoseconds when it had the last row, the offset of that, and its value in hexadecimal digits.
 */

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <librdkafka/rdkafka.h>

enum {
    BATCH_RECORDS = 10000,
    POLL_MS = 1000,
    LONGS_BEFORE = 3,   /* version, id, sourceTimestamp */
    STRINGS_BEFORE = 3, /* sourcePosition, safeSourcePosition, sourceTxid */
    ROW_OPERATIONS = 3, /* INSERT, UPDATE, DELETE */
};

/* What is left of a value that is read. */
struct reader {
    const unsigned char *at, *end;
};

static void fail(const char *what, const char *detail) {
    fprintf(stderr, "%s: %s\n", what, detail);
    exit(1);
}

static int64_t read_long(struct reader *reader) {
    uint64_t bits = 0;
    for (int shift = 0; reader->at < reader->end && shift < 64; shift += 7) {
        unsigned char byte = *reader->at++;
        bits |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80)
            return (int64_t)(bits >> 1) ^ -(int64_t)(bits & 1);
    }
    fail("a record", "ends inside of a number");
    return 0;
}

static void skip_string(struct reader *reader) {
    int64_t size = read_long(reader);
    if (size < 0 || size > reader->end - reader->at)
        fail("a record", "ends inside of a string");
    reader->at += size;
}

/* Whether a DTS record is of a row: its operation follows the source, which is a type and a version. */
static bool is_row(const rd_kafka_message_t *message) {
    struct reader reader = {message->payload, (const unsigned char *)message->payload + message->len};
    for (int i = 0; i < LONGS_BEFORE; i++)
        read_long(&reader);
    for (int i = 0; i < STRINGS_BEFORE; i++)
        skip_string(&reader);
    read_long(&reader);
    skip_string(&reader);
    int64_t operation = read_long(&reader);
    return operation >= 0 && operation < ROW_OPERATIONS;
}

static void print_last(const rd_kafka_message_t *message) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    printf("%" PRId64 " %" PRId64 " ", (int64_t)now.tv_sec * 1000000000 + now.tv_nsec, message->offset);
    for (size_t i = 0; i < message->len; i++)
        printf("%02x", ((const unsigned char *)message->payload)[i]);
    putchar('\n');
    fflush(stdout);
}

static rd_kafka_t *consumer(char **arguments) {
    char reason[512];
    const char *dash = strrchr(arguments[2], '-');
    const char *settings[][2] = {
        {"bootstrap.servers", arguments[0]}, {"sasl.username", arguments[2]}, {"sasl.password", arguments[3]},
        {"security.protocol", "sasl_plaintext"}, {"sasl.mechanisms", "PLAIN"}, {"check.crcs", "true"},
        {"group.id", dash ? dash + 1 : ""}, {"enable.auto.commit", "false"}, {"enable.auto.offset.store", "false"},
    };
    rd_kafka_conf_t *configuration = rd_kafka_conf_new();
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        if (rd_kafka_conf_set(configuration, settings[i][0], settings[i][1], reason, sizeof reason))
            fail(settings[i][0], reason);
    rd_kafka_t *client = rd_kafka_new(RD_KAFKA_CONSUMER, configuration, reason, sizeof reason);
    if (!client)
        fail("librdkafka", reason);
    rd_kafka_topic_partition_list_t *partitions = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(partitions, arguments[1], 0)->offset = 0;
    if (rd_kafka_assign(client, partitions))
        fail("librdkafka", "nothing could be assigned");
    rd_kafka_topic_partition_list_destroy(partitions);
    return client;
}

int main(int count, char **arguments) {
    if (count != 6)
        fail("usage", "bootstrap topic username password rows");
    rd_kafka_t *client = consumer(arguments + 1);
    rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(client);
    static rd_kafka_message_t *messages[BATCH_RECORDS];
    int64_t due = 0;
    for (int64_t left = strtoll(arguments[5], NULL, 10); left > 0;) {
        ssize_t received = rd_kafka_consume_batch_queue(queue, POLL_MS, messages, BATCH_RECORDS);
        for (ssize_t i = 0; i < received; i++) {
            rd_kafka_message_t *message = messages[i];
            if (message->err)
                fail("librdkafka", rd_kafka_message_errstr(message));
            if (message->offset != due++)
                fail("the log", "an offset that does not follow the one before");
            if (is_row(message) && !--left)
                print_last(message);
            rd_kafka_message_destroy(message);
        }
    }
    exit(0); /* nothing is left to be told to the server */
}
