import com.aliyun.dts.subscribe.clients.AbstractDTSConsumer;
import com.aliyun.dts.subscribe.clients.ConsumerContext;
import com.aliyun.dts.subscribe.clients.ConsumerContext.ConsumerSubscribeMode;
import com.aliyun.dts.subscribe.clients.DefaultDTSConsumer;
import com.aliyun.dts.subscribe.clients.common.Checkpoint;
import com.aliyun.dts.subscribe.clients.common.RecordListener;
import com.aliyun.dts.subscribe.clients.metastore.MetaStore;
import com.aliyun.dts.subscribe.clients.record.DefaultUserRecord;
import com.aliyun.dts.subscribe.clients.record.RecordField;
import com.aliyun.dts.subscribe.clients.record.RowImage;
import com.aliyun.dts.subscribe.clients.record.value.Value;
import java.lang.reflect.Field;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.TopicPartition;

/**
 * The scenarios of the service's own SDK: `group` and `hold` in its subscribe mode, `assign` and `assign_time` in its assign mode, all from a timestamp
 * in seconds on; with metadata (whatever it says, the SDK writes its own) the last record is committed. The SDK shows its listener decoded records only, so the queue between its
 * fetcher and its decoder is replaced by one that also reports the bytes; everything else is the SDK as published.
 */
public final class DtsScenarios extends ScenarioLoop {
    private static final int COMMIT_INTERVAL_MS = 100;

    public static void main(String[] arguments) throws Exception {
        new DtsScenarios().serve();
    }

    @Override
    Map<String, Object> run(String scenario, Map<String, String> arguments) throws Exception {
        boolean commits = arguments.containsKey("metadata");
        int wanted = Integer.parseInt(arguments.get("count"));
        CountDownLatch left = new CountDownLatch(wanted);
        CommitSignal committed = new CommitSignal();
        TappedConsumer consumer = new TappedConsumer(context(scenario, arguments, committed), wanted);
        consumer.addRecordListeners(Collections.singletonMap("interop", listener(left, commits)));
        Thread runner = new Thread(consumer::start, "dts-consumer");
        runner.setDaemon(true);
        runner.start();
        long deadline = System.nanoTime() + Long.parseLong(arguments.get("deadline_ms")) * 1_000_000L;
        boolean complete = left.await(deadline - System.nanoTime(), TimeUnit.NANOSECONDS)
            && (!commits || committed.seen.await(deadline - System.nanoTime(), TimeUnit.NANOSECONDS));
        consumer.tap.discarding = true;
        if (!complete) {
            // Not waited for: between two attempts to connect the SDK sleeps ten seconds, whatever happens.
            consumer.close();
            throw new IllegalStateException("read " + (wanted - left.getCount()) + " of " + wanted + " records before the deadline");
        }
        if (!scenario.equals("hold")) {
            consumer.close();
            runner.join(TimeUnit.SECONDS.toMillis(30));
        }
        Map<String, Object> result = new LinkedHashMap<>();
        result.put("count", wanted);
        return result;
    }

    /** Either mode begins at a time in seconds, if the group has no checkpoint; what is passed on to the Kafka client begins with "kafka.". */
    private static ConsumerContext context(String scenario, Map<String, String> arguments, CommitSignal committed) {
        boolean subscribes = scenario.equals("group") || scenario.equals("hold");
        int sessionTimeoutMs = Integer.parseInt(arguments.get("session_timeout_ms"));
        ConsumerContext context = new ConsumerContext(arguments.get("bootstrap"), arguments.get("topic"), arguments.get("group"),
            arguments.get("account"), arguments.get("password"), arguments.get("timestamp"),
            subscribes ? ConsumerSubscribeMode.SUBSCRIBE : ConsumerSubscribeMode.ASSIGN);
        context.setProperty("stream.pool.timeout", "200");
        // The check at the start of SDK 1.4 waits this long, twice, whatever has arrived: five seconds if it is not told.
        context.setProperty("kafka.poll.ms", "50");
        context.setProperty("kafka.client.id", arguments.get("client_id"));
        context.setProperty("kafka.session.timeout.ms", String.valueOf(sessionTimeoutMs));
        context.setProperty("kafka.heartbeat.interval.ms", String.valueOf(sessionTimeoutMs / 10));
        context.setUseLocalCheckpointStore(false);
        context.setCheckpointCommitInterval(COMMIT_INTERVAL_MS);
        context.setUserRegisteredStore(committed);
        return context;
    }

    private RecordListener listener(CountDownLatch left, boolean commits) {
        return record -> {
            if (left.getCount() == 0) {
                return;
            }
            emit("row", row(record));
            if (commits && left.getCount() == 1) {
                record.commit("");
            }
            left.countDown();
        };
    }

    /** [offset, id, sourceTimestamp, operation, table, before, after] as the SDK's public API gives them. */
    private static String row(DefaultUserRecord record) {
        String operation = record.getOperationType().name();
        boolean hasRow = operation.equals("INSERT") || operation.equals("UPDATE") || operation.equals("DELETE");
        String table = hasRow ? quote(record.getSchema().getFullQualifiedName().orElse(null)) : "null";
        String before = hasRow ? image(record, record.getBeforeImage()) : "null";
        String after = hasRow ? image(record, record.getAfterImage()) : "null";
        return "[" + record.getOffset() + ", " + record.getId() + ", " + record.getSourceTimestamp() + ", " + quote(operation) + ", " + table + ", " + before
            + ", " + after + "]";
    }

    private static String image(DefaultUserRecord record, RowImage image) {
        if (image == null) {
            return "null";
        }
        Map<String, Object> values = new LinkedHashMap<>();
        List<RecordField> fields = record.getSchema().getFields();
        for (RecordField field : fields) {
            Value<?> value = image.getValue(field);
            values.put(field.getFieldName(), value == null ? null : value.toString());
        }
        return object(values);
    }

    /** A second checkpoint store beside Kafka's, in the same call: knows nothing, but tells when the SDK has committed. */
    private static final class CommitSignal implements MetaStore<Checkpoint> {
        final CountDownLatch seen = new CountDownLatch(1);

        @Override
        public Future<Checkpoint> serializeTo(TopicPartition partition, String group, Checkpoint value) {
            seen.countDown();
            return CompletableFuture.completedFuture(value);
        }

        @Override
        public Checkpoint deserializeFrom(TopicPartition partition, String group) {
            return null;
        }
    }

    private final class TappedConsumer extends DefaultDTSConsumer {
        final Tap tap;

        TappedConsumer(ConsumerContext context, int wanted) throws ReflectiveOperationException {
            super(context);
            Field queue = AbstractDTSConsumer.class.getDeclaredField("toProcessRecords");
            queue.setAccessible(true);
            tap = new Tap(wanted);
            queue.set(this, tap);
        }
    }

    /**
     * Reports the first {@code wanted} records the SDK fetched. At the end it takes and forgets everything: in SDK 2.0 a fetcher whose queue is full
     * never notices that it was closed, and stays a member of the group.
     */
    private final class Tap extends LinkedBlockingQueue<ConsumerRecord> {
        volatile boolean discarding;
        private int left;

        Tap(int wanted) {
            super(512);
            this.left = wanted;
        }

        @Override
        public boolean offer(ConsumerRecord fetched, long timeout, TimeUnit unit) throws InterruptedException {
            boolean accepted = discarding || super.offer(fetched, timeout, unit);
            if (accepted && left > 0) {
                left--;
                record(fetched.offset(), fetched.timestamp(), (byte[]) fetched.key(), (byte[]) fetched.value());
            }
            return accepted;
        }
    }
}
