import io.debezium.engine.ChangeEvent;
import io.debezium.engine.DebeziumEngine;
import io.debezium.engine.format.Json;
import java.io.ObjectOutputStream;
import java.io.Reader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;

/**
 * Runs Debezium's embedded engine until so many row changes were handed to us, each key and value as JSON, which is
 * read no further than its kind and id. Arguments: the file of the engine's properties, the binlog file and position to
 * begin at with the GTIDs before it, how many row changes, and optionally "print", which prints each value.
 */
public final class DebeziumReader {
    private static final String KIND = "\"op\":\"";

    private final Seen seen;
    private final String destination;
    private final boolean printing;

    private DebeziumReader(Seen seen, String destination, boolean printing) {
        this.seen = seen;
        this.destination = destination;
        this.printing = printing;
    }

    public static void main(String[] arguments) throws Exception {
        Properties properties = new Properties();
        try (Reader file = Files.newBufferedReader(Path.of(arguments[0]))) {
            properties.load(file);
        }
        writeOffset(properties, arguments[1], Long.parseLong(arguments[2]), arguments[3]);
        String destination = properties.getProperty("topic.prefix") + "." + properties.getProperty("table.include.list");
        Seen seen = new Seen(Integer.parseInt(arguments[4]));
        DebeziumReader reader = new DebeziumReader(seen, destination, arguments.length > 5);
        try (DebeziumEngine<ChangeEvent<String, String>> engine = DebeziumEngine.create(Json.class)
                .using(properties)
                .using((success, message, error) -> {
                    System.err.println("Debezium ended after " + seen.rows() + " rows: " + message);
                    Runtime.getRuntime().halt(1);
                })
                .notifying(reader::take)
                .build()) {
            engine.run();
        }
    }

    /** Has the engine find the offset of a connector that stopped there (org.apache.kafka.connect.storage). */
    private static void writeOffset(Properties properties, String file, long position, String gtids)
            throws Exception {
        String prefix = properties.getProperty("topic.prefix");
        String key = String.format("[\"%s\",{\"server\":\"%s\"}]", properties.getProperty("name"), prefix);
        String value = String.format("{\"file\":\"%s\",\"pos\":%d,\"gtids\":\"%s\"}", file, position, gtids);
        Map<byte[], byte[]> offsets = new HashMap<>();
        offsets.put(key.getBytes(StandardCharsets.UTF_8), value.getBytes(StandardCharsets.UTF_8));
        Path path = Path.of(properties.getProperty("offset.storage.file.filename"));
        try (ObjectOutputStream output = new ObjectOutputStream(Files.newOutputStream(path))) {
            output.writeObject(offsets);
        }
    }

    private void take(
            List<ChangeEvent<String, String>> events, DebeziumEngine.RecordCommitter<ChangeEvent<String, String>> committer)
            throws InterruptedException {
        for (ChangeEvent<String, String> event : events) {
            if (event.value() != null && destination.equals(event.destination())) { // null: the tombstone of a delete
                count(event.key(), event.value());
            }
            committer.markProcessed(event);
        }
        committer.markBatchFinished();
        seen.handedOver();
    }

    private void count(String key, String value) {
        if (printing) {
            System.out.println(value);
        }
        long id = Long.parseLong(key.substring(key.lastIndexOf(':') + 1, key.indexOf('}', key.lastIndexOf(':'))));
        switch (value.charAt(value.lastIndexOf(KIND) + KIND.length())) {
            case 'c' -> seen.insert(id);
            case 'u' -> seen.update(id);
            case 'd' -> seen.delete(id);
            default -> throw new IllegalStateException("a change event that is no row change: " + value);
        }
    }
}
