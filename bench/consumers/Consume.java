import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Consumers that read the whole of a topic's one partition, in its defaults but for the checks here: that offsets follow each other, and how many bytes the
 * values have. Arguments: bootstrap, topic, records. Each line of standard input, a number of consumers, is a measurement: they start at once, each on its
 * own connection, and a line of standard output has the nanoseconds until all are through, and the bytes of each one's values. End of input ends it.
 */
public final class Consume {
    private static final long POLL_MS = 1000;

    public static void main(String[] arguments) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            int consumers = Integer.parseInt(line.trim());
            ExecutorService threads = Executors.newFixedThreadPool(consumers);
            List<Callable<Long>> readers = Collections.nCopies(consumers, () -> read(arguments[0], arguments[1], Long.parseLong(arguments[2])));
            long begun = System.nanoTime();
            List<Future<Long>> ended = threads.invokeAll(readers);
            List<String> answer = new ArrayList<>(Collections.singletonList(String.valueOf(System.nanoTime() - begun)));
            threads.shutdown();
            for (Future<Long> each : ended) {
                answer.add(each.get().toString());
            }
            System.out.println(String.join(" ", answer));
        }
    }

    @SuppressWarnings("deprecation") // poll(Duration) came with 2.0
    private static long read(String bootstrap, String topic, long records) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        properties.put("enable.auto.commit", "false");
        properties.put("key.deserializer", ByteArrayDeserializer.class.getName());
        properties.put("value.deserializer", ByteArrayDeserializer.class.getName());
        TopicPartition partition = new TopicPartition(topic, 0);
        long due = 0;
        long bytes = 0;
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(properties)) {
            consumer.assign(Collections.singletonList(partition));
            consumer.seek(partition, 0);
            while (due < records) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(POLL_MS)) {
                    if (record.offset() != due) {
                        throw new IllegalStateException("record " + record.offset() + " where " + due + " was due");
                    }
                    due++;
                    bytes += record.value().length;
                }
            }
        }
        return bytes;
    }
}
