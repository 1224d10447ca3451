/*
 * The scenarios of librdkafka's C interface, behind the line protocol of ../scenario_loop.py.
 *
 * The program's own arguments are librdkafka settings, `name=value`: every consumer takes them over what a scenario
 * says, so that one program stands for a library that is told to speak as to an older broker. Only functions that
 * librdkafka has had since 0.9.3 are used: the same program runs on any later library.
 */

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <librdkafka/rdkafka.h>

enum {
    POLL_MS = 200,
    WAIT_MS = 30000,
    MAX_ARGUMENTS = 32,
    MESSAGE_BYTES = 1024,
    HEARTBEATS_PER_SESSION = 10,
};

/* The arguments of one scenario; the texts lie in the line they were read from. */
struct arguments {
    size_t count;
    const char *names[MAX_ARGUMENTS];
    const char *values[MAX_ARGUMENTS];
};

/* One consumer, and the first error it reported that no waiting heals. */
struct consumer {
    rd_kafka_t *client;
    char refused[MESSAGE_BYTES];
};

/* What a scenario says when it fails; its functions answer false then. */
static char failure[MESSAGE_BYTES];
static int settings_count;
static char **settings;

static bool fail(const char *format, ...) {
    va_list values;
    va_start(values, format);
    vsnprintf(failure, sizeof failure, format, values);
    va_end(values);
    return false;
}

static bool fail_with(const char *what, rd_kafka_resp_err_t error) {
    return fail("%s: %s: %s", what, rd_kafka_err2name(error), rd_kafka_err2str(error));
}

static const char *argument(const struct arguments *arguments, const char *name) {
    for (size_t i = 0; i < arguments->count; i++)
        if (!strcmp(arguments->names[i], name))
            return arguments->values[i];
    return NULL;
}

static int64_t number(const struct arguments *arguments, const char *name) {
    const char *text = argument(arguments, name);
    return text ? strtoll(text, NULL, 10) : -1;
}

static int64_t monotonic_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- what goes out: JSON lines ---- */

static void print_text(const char *text) {
    putchar('"');
    for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
        if (*at == '"' || *at == '\\')
            printf("\\%c", *at);
        else if (*at < 0x20)
            printf("\\u%04x", *at);
        else
            putchar(*at);
    }
    putchar('"');
}

static void print_base64(const unsigned char *data, size_t size) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if (!data) {
        fputs("null", stdout);
        return;
    }
    putchar('"');
    for (size_t at = 0; at < size; at += 3) {
        size_t left = size - at;
        uint32_t group = (uint32_t)data[at] << 16 | (left > 1 ? (uint32_t)data[at + 1] << 8 : 0) | (left > 2 ? data[at + 2] : 0);
        putchar(digits[group >> 18]);
        putchar(digits[group >> 12 & 63]);
        putchar(left > 1 ? digits[group >> 6 & 63] : '=');
        putchar(left > 2 ? digits[group & 63] : '=');
    }
    putchar('"');
}

static void print_record(const rd_kafka_message_t *message) {
    rd_kafka_timestamp_type_t type;
    int64_t timestamp_ms = rd_kafka_message_timestamp(message, &type);
    if (type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE)
        timestamp_ms = -1; /* message format 0 has none */
    printf("{\"record\": [%" PRId64 ", %" PRId64 ", ", message->offset, timestamp_ms);
    print_base64(message->key, message->key_len);
    fputs(", ", stdout);
    print_base64(message->payload, message->len);
    puts("]}");
}

/* ---- a consumer ---- */

static void on_error(rd_kafka_t *client, int error, const char *reason, void *opaque) {
    struct consumer *consumer = opaque;
    (void)client;
    if (error == RD_KAFKA_RESP_ERR__AUTHENTICATION && !*consumer->refused)
        snprintf(consumer->refused, sizeof consumer->refused, "%s: %s", rd_kafka_err2name(error), reason);
}

static bool set(rd_kafka_conf_t *configuration, const char *name, const char *value) {
    char reason[MESSAGE_BYTES / 2];
    if (rd_kafka_conf_set(configuration, name, value, reason, sizeof reason) == RD_KAFKA_CONF_OK)
        return true;
    return fail("Configuration: %s", reason);
}

static bool set_own(rd_kafka_conf_t *configuration, const char *setting) {
    char name[MESSAGE_BYTES];
    const char *equals = strchr(setting, '=');
    if (!equals || (size_t)(equals - setting) >= sizeof name)
        return fail("Configuration: %s is not name=value", setting);
    memcpy(name, setting, equals - setting);
    name[equals - setting] = 0;
    return set(configuration, name, equals + 1);
}

static bool configure(rd_kafka_conf_t *configuration, const struct arguments *arguments) {
    char heartbeat_ms[24];
    const char *partition_bytes = argument(arguments, "partition_bytes");
    const char *response_bytes = argument(arguments, "response_bytes");
    const char *ca = argument(arguments, "ca");
    snprintf(heartbeat_ms, sizeof heartbeat_ms, "%" PRId64, number(arguments, "session_timeout_ms") / HEARTBEATS_PER_SESSION);
    const char *const pairs[][2] = {
        {"bootstrap.servers", argument(arguments, "bootstrap")},
        {"client.id", argument(arguments, "client_id")},
        {"security.protocol", argument(arguments, "security")},
        {"sasl.mechanisms", "PLAIN"},
        {"sasl.username", argument(arguments, "username")},
        {"sasl.password", argument(arguments, "password")},
        {"group.id", argument(arguments, "group")},
        {"session.timeout.ms", argument(arguments, "session_timeout_ms")},
        {"heartbeat.interval.ms", heartbeat_ms},
        {"enable.auto.commit", "false"},
        {"auto.offset.reset", "earliest"},
        {"check.crcs", "true"},
        {"fetch.message.max.bytes", partition_bytes ? partition_bytes : "1048576"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (!set(configuration, pairs[i][0], pairs[i][1]))
            return false;
    if (response_bytes && !set(configuration, "receive.message.max.bytes", response_bytes))
        return false;
    if (ca && !set(configuration, "ssl.ca.location", ca))
        return false;
    for (int i = 0; i < settings_count; i++)
        if (!set_own(configuration, settings[i]))
            return false;
    return true;
}

static bool open_consumer(struct consumer *consumer, const struct arguments *arguments) {
    char reason[MESSAGE_BYTES / 2];
    rd_kafka_conf_t *configuration = rd_kafka_conf_new();
    *consumer->refused = 0;
    rd_kafka_conf_set_error_cb(configuration, on_error);
    rd_kafka_conf_set_opaque(configuration, consumer);
    if (!configure(configuration, arguments)) {
        rd_kafka_conf_destroy(configuration);
        return false;
    }
    consumer->client = rd_kafka_new(RD_KAFKA_CONSUMER, configuration, reason, sizeof reason);
    if (!consumer->client) {
        rd_kafka_conf_destroy(configuration);
        return fail("Configuration: %s", reason);
    }
    rd_kafka_poll_set_consumer(consumer->client);
    return true;
}

static void close_consumer(struct consumer *consumer) {
    rd_kafka_consumer_close(consumer->client);
    rd_kafka_destroy(consumer->client);
}

/* The topic's one partition, with an offset or a time; the caller destroys the list. */
static rd_kafka_topic_partition_list_t *partition_at(const struct arguments *arguments, int64_t offset) {
    rd_kafka_topic_partition_list_t *partitions = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(partitions, argument(arguments, "topic"), 0)->offset = offset;
    return partitions;
}

static bool commit(struct consumer *consumer, const struct arguments *arguments, int64_t offset) {
    const char *metadata = argument(arguments, "metadata");
    rd_kafka_topic_partition_list_t *partitions = partition_at(arguments, offset);
    rd_kafka_topic_partition_t *position = &partitions->elems[0];
    position->metadata = strdup(metadata);
    position->metadata_size = strlen(metadata);
    rd_kafka_resp_err_t error = rd_kafka_commit(consumer->client, partitions, 0);
    if (!error)
        error = position->err;
    rd_kafka_topic_partition_list_destroy(partitions);
    return error ? fail_with("commit", error) : true;
}

/* One poll: true when it gave nothing, or a record of the wanted partition, whose following offset is told. */
static bool take(struct consumer *consumer, int64_t *seen, int64_t *following) {
    rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer->client, POLL_MS);
    if (*consumer->refused) {
        if (message)
            rd_kafka_message_destroy(message);
        return fail("%s", consumer->refused);
    }
    if (!message)
        return true;
    bool good = true;
    if (!message->err) {
        print_record(message);
        *following = message->offset + 1;
        ++*seen;
    } else if (message->err != RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        /* An error's words are its payload, if it has any: rd_kafka_message_errstr() was no function before 1.4. */
        const char *words = message->payload ? message->payload : rd_kafka_err2str(message->err);
        good = fail("%s: %s", rd_kafka_err2name(message->err), words);
    }
    rd_kafka_message_destroy(message);
    return good;
}

/* Read exactly `count` records, or fail at the deadline; then commit behind the last one if metadata is given. */
static bool read_records(struct consumer *consumer, const struct arguments *arguments) {
    int64_t wanted = number(arguments, "count"), seen = 0, following = -1;
    int64_t deadline_ms = monotonic_ms() + number(arguments, "deadline_ms");
    while (seen < wanted) {
        if (monotonic_ms() > deadline_ms)
            return fail("Timeout: read %" PRId64 " of %" PRId64 " records before the deadline", seen, wanted);
        if (!take(consumer, &seen, &following))
            return false;
    }
    return argument(arguments, "metadata") ? commit(consumer, arguments, following) : true;
}

static bool subscribe_and_read(struct consumer *consumer, const struct arguments *arguments) {
    rd_kafka_topic_partition_list_t *topics = partition_at(arguments, RD_KAFKA_OFFSET_INVALID);
    topics->elems[0].partition = RD_KAFKA_PARTITION_UA;
    rd_kafka_resp_err_t error = rd_kafka_subscribe(consumer->client, topics);
    rd_kafka_topic_partition_list_destroy(topics);
    return error ? fail_with("subscribe", error) : read_records(consumer, arguments);
}

static bool assign_and_read(struct consumer *consumer, const struct arguments *arguments, int64_t offset) {
    rd_kafka_topic_partition_list_t *partitions = partition_at(arguments, offset);
    rd_kafka_resp_err_t error = rd_kafka_assign(consumer->client, partitions);
    rd_kafka_topic_partition_list_destroy(partitions);
    return error ? fail_with("assign", error) : read_records(consumer, arguments);
}

/* ---- the scenarios: each prints what it read and its closing line, or says why it failed ---- */

static bool group(struct consumer *consumer, const struct arguments *arguments) {
    if (!subscribe_and_read(consumer, arguments))
        return false;
    puts("{\"done\": {}}");
    return true;
}

static void *poll_forever(void *opaque) {
    struct consumer *consumer = opaque;
    for (;;) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer->client, POLL_MS);
        if (message)
            rd_kafka_message_destroy(message);
    }
    return NULL;
}

/* As `group`, but stay an active member until the process is killed: polling, so that it joins rebalances. */
static bool hold(struct consumer *consumer, const struct arguments *arguments) {
    pthread_t member;
    if (!subscribe_and_read(consumer, arguments))
        return false;
    if (pthread_create(&member, NULL, poll_forever, consumer))
        return fail("pthread_create: %s", strerror(errno));
    pthread_detach(member);
    puts("{\"done\": {}}");
    return true;
}

static bool assign(struct consumer *consumer, const struct arguments *arguments) {
    if (!assign_and_read(consumer, arguments, number(arguments, "offset")))
        return false;
    puts("{\"done\": {}}");
    return true;
}

static bool assign_time(struct consumer *consumer, const struct arguments *arguments) {
    rd_kafka_topic_partition_list_t *partitions = partition_at(arguments, number(arguments, "timestamp"));
    rd_kafka_resp_err_t error = rd_kafka_offsets_for_times(consumer->client, partitions, WAIT_MS);
    if (!error)
        error = partitions->elems[0].err;
    int64_t offset = partitions->elems[0].offset;
    rd_kafka_topic_partition_list_destroy(partitions);
    if (error)
        return fail_with("offsets_for_times", error);
    if (offset == RD_KAFKA_OFFSET_END) {
        puts("{\"done\": {\"offset\": null}}");
        return true;
    }
    if (!assign_and_read(consumer, arguments, offset))
        return false;
    printf("{\"done\": {\"offset\": %" PRId64 "}}\n", offset);
    return true;
}

static bool bounds(struct consumer *consumer, const struct arguments *arguments) {
    int64_t begin, end;
    rd_kafka_resp_err_t error =
        rd_kafka_query_watermark_offsets(consumer->client, argument(arguments, "topic"), 0, &begin, &end, WAIT_MS);
    if (error)
        return fail_with("query_watermark_offsets", error);
    printf("{\"done\": {\"begin\": %" PRId64 ", \"end\": %" PRId64 "}}\n", begin, end);
    return true;
}

static bool committed(struct consumer *consumer, const struct arguments *arguments) {
    rd_kafka_topic_partition_list_t *partitions = partition_at(arguments, RD_KAFKA_OFFSET_INVALID);
    rd_kafka_topic_partition_t *position = &partitions->elems[0];
    rd_kafka_resp_err_t error = rd_kafka_committed(consumer->client, partitions, WAIT_MS);
    if (!error)
        error = position->err;
    if (!error) {
        /* The metadata is bytes with a size, not a text with an end. */
        char *metadata = strndup(position->metadata ? position->metadata : "", position->metadata_size);
        printf("{\"done\": {\"offset\": %" PRId64 ", \"metadata\": ", position->offset);
        print_text(metadata);
        puts("}}");
        free(metadata);
    }
    rd_kafka_topic_partition_list_destroy(partitions);
    return error ? fail_with("committed", error) : true;
}

static bool topics(struct consumer *consumer, const struct arguments *arguments) {
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t error = rd_kafka_metadata(consumer->client, 1, NULL, &metadata, WAIT_MS);
    (void)arguments;
    if (error)
        return fail_with("metadata", error);
    fputs("{\"done\": {\"topics\": [", stdout);
    for (int i = 0; i < metadata->topic_cnt; i++) {
        fputs(i ? ", " : "", stdout);
        print_text(metadata->topics[i].topic);
    }
    puts("]}}");
    rd_kafka_metadata_destroy(metadata);
    return true;
}

static const struct {
    const char *name;
    bool (*run)(struct consumer *, const struct arguments *);
    bool stays; /* the consumer goes on living when the scenario is done */
} SCENARIOS[] = {
    {"group", group, false},
    {"hold", hold, true},
    {"assign", assign, false},
    {"assign_time", assign_time, false},
    {"bounds", bounds, false},
    {"committed", committed, false},
    {"topics", topics, false},
};

static bool run(const char *name, const struct arguments *arguments) {
    for (size_t i = 0; i < sizeof SCENARIOS / sizeof *SCENARIOS; i++) {
        if (strcmp(SCENARIOS[i].name, name))
            continue;
        struct consumer *consumer = calloc(1, sizeof *consumer);
        bool done = open_consumer(consumer, arguments);
        if (done) {
            done = SCENARIOS[i].run(consumer, arguments);
            if (done && SCENARIOS[i].stays)
                return true;
            close_consumer(consumer);
        }
        free(consumer);
        return done;
    }
    return fail("Protocol: there is no scenario %s", name);
}

/* Take a line apart: the scenario's name, then its arguments. */
static const char *parse(char *line, struct arguments *arguments) {
    char *rest = line, *name;
    line[strcspn(line, "\n")] = 0;
    name = strsep(&rest, "\t");
    for (arguments->count = 0; rest && arguments->count < MAX_ARGUMENTS; arguments->count++) {
        char *value = strsep(&rest, "\t");
        arguments->names[arguments->count] = strsep(&value, "=");
        arguments->values[arguments->count] = value ? value : "";
    }
    return name;
}

int main(int count, char **values) {
    char *line = NULL;
    size_t size = 0;
    struct arguments arguments;
    settings = values + 1;
    settings_count = count - 1;
    setvbuf(stdout, NULL, _IOLBF, 1 << 16); /* who follows a topic waits for each record */
    fprintf(stderr, "librdkafka %s\n", rd_kafka_version_str());
    while (getline(&line, &size, stdin) > 0) {
        if (!run(parse(line, &arguments), &arguments)) {
            fputs("{\"error\": ", stdout);
            print_text(failure);
            puts("}");
        }
        fflush(stdout);
    }
    free(line);
    return 0;
}
