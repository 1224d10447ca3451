// librdkafka's mock cluster of one broker, driven by lines: it prints "ready" and its address, makes a topic for
// each name it reads and answers "made", and ends with its input (bench/peers/line_broker.py).

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdio.h>
#include <string.h>

int main(void) {
    char reason[512], name[256];
    rd_kafka_t *handle = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), reason, sizeof reason);
    if (handle == NULL) {
        fprintf(stderr, "%s\n", reason);
        return 1;
    }
    rd_kafka_mock_cluster_t *cluster = rd_kafka_mock_cluster_new(handle, 1);
    if (cluster == NULL) {
        fprintf(stderr, "the mock cluster cannot be made\n");
        return 1;
    }
    printf("ready %s\n", rd_kafka_mock_cluster_bootstraps(cluster));
    fflush(stdout);
    while (fgets(name, sizeof name, stdin) != NULL) {
        name[strcspn(name, "\n")] = '\0';
        rd_kafka_resp_err_t error = rd_kafka_mock_topic_create(cluster, name, 1, 1);
        if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
            fprintf(stderr, "%s: %s\n", name, rd_kafka_err2str(error));
            return 1;
        }
        printf("made\n");
        fflush(stdout);
    }
    rd_kafka_mock_cluster_destroy(cluster);
    rd_kafka_destroy(handle);
    return 0;
}
