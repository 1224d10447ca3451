import java.lang.reflect.InvocationTargetException;
import java.time.Duration;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.Timer;
import java.util.TimerTask;
import java.util.TreeSet;
import javax.security.auth.login.AppConfigurationEntry;
import javax.security.auth.login.AppConfigurationEntry.LoginModuleControlFlag;
import javax.security.auth.login.Configuration;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * The scenarios of a plain Java consumer, one source for all versions of kafka-clients from 0.10.0 on: what only some of them have (the look-up by time, the
 * two forms of poll and committed) is reached by reflection. Arguments and scenarios are those of scenario_loop.py.
 */
public final class KafkaScenarios extends ScenarioLoop {
    private static final long POLL_MS = 200;
    private static final boolean POLL_TAKES_DURATION = has("poll", Duration.class);
    private static final boolean COMMITTED_TAKES_SET = has("committed", Set.class);
    private static final String LOGIN_MODULE = "org.apache.kafka.common.security.plain.PlainLoginModule";

    /** Before 0.10.2 (KIP-85) a client has no sasl.jaas.config and asks the process for its one login. */
    private static final class OneLogin extends Configuration {
        private final Map<String, String> options = new HashMap<>();

        OneLogin(String username, String password) {
            options.put("username", username);
            options.put("password", password);
        }

        @Override
        public AppConfigurationEntry[] getAppConfigurationEntry(String name) {
            return new AppConfigurationEntry[] {new AppConfigurationEntry(LOGIN_MODULE, LoginModuleControlFlag.REQUIRED, options)};
        }
    }

    public static void main(String[] arguments) throws Exception {
        new KafkaScenarios().serve();
    }

    @Override
    Map<String, Object> run(String scenario, Map<String, String> arguments) throws Exception {
        Configuration.setConfiguration(new OneLogin(arguments.get("username"), arguments.get("password")));
        if (scenario.equals("hold")) {
            return hold(arguments);
        }
        Timer deadline = new Timer("deadline", true);
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(properties(arguments))) {
            deadline.schedule(wakeUp(consumer), Long.parseLong(arguments.get("deadline_ms")));
            TopicPartition partition = new TopicPartition(arguments.get("topic"), 0);
            switch (scenario) {
                case "group":
                    consumer.subscribe(Collections.singletonList(partition.topic()));
                    return read(consumer, partition, arguments);
                case "topics":
                    return topics(consumer);
                case "assign":
                    consumer.assign(Collections.singletonList(partition));
                    consumer.seek(partition, Long.parseLong(arguments.get("offset")));
                    return read(consumer, partition, arguments);
                case "assign_time":
                    consumer.assign(Collections.singletonList(partition));
                    Map<String, Object> found = offsetForTime(consumer, partition, Long.parseLong(arguments.get("timestamp")));
                    if (found.get("offset") == null) {
                        return found;
                    }
                    consumer.seek(partition, (Long) found.get("offset"));
                    read(consumer, partition, arguments);
                    return found;
                case "bounds":
                    return bounds(consumer, partition);
                case "committed":
                    return committed(consumer, partition);
                default:
                    throw new IllegalArgumentException("no scenario " + scenario);
            }
        } finally {
            deadline.cancel();
        }
    }

    /** Reads and commits as in a group, then stays a member until the process is killed. */
    private Map<String, Object> hold(Map<String, String> arguments) {
        KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(properties(arguments));
        TopicPartition partition = new TopicPartition(arguments.get("topic"), 0);
        consumer.subscribe(Collections.singletonList(partition.topic()));
        Map<String, Object> result = read(consumer, partition, arguments);
        Thread member = new Thread(() -> {
            while (true) {
                poll(consumer, 0, 0);
            }
        }, "member");
        member.setDaemon(true);
        member.start();
        return result;
    }

    /** Until 2.0 a poll does not return while no coordinator can be reached, whatever its timeout. */
    private static TimerTask wakeUp(KafkaConsumer<byte[], byte[]> consumer) {
        return new TimerTask() {
            @Override
            public void run() {
                consumer.wakeup();
            }
        };
    }

    private static Properties properties(Map<String, String> arguments) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", arguments.get("bootstrap"));
        properties.put("group.id", arguments.get("group"));
        properties.put("enable.auto.commit", "false");
        properties.put("auto.offset.reset", "earliest");
        int sessionTimeoutMs = Integer.parseInt(arguments.get("session_timeout_ms"));
        properties.put("client.id", arguments.get("client_id"));
        properties.put("session.timeout.ms", String.valueOf(sessionTimeoutMs));
        properties.put("heartbeat.interval.ms", String.valueOf(sessionTimeoutMs / 10));
        properties.put("security.protocol", arguments.get("security"));
        if (arguments.containsKey("truststore")) {
            properties.put("ssl.truststore.type", "PKCS12");
            properties.put("ssl.truststore.location", arguments.get("truststore"));
            properties.put("ssl.truststore.password", arguments.get("truststore_password"));
            properties.put("ssl.endpoint.identification.algorithm", "https");
        }
        properties.put("sasl.mechanism", "PLAIN");
        properties.put("sasl.jaas.config", String.format(
            "%s required username=\"%s\" password=\"%s\";", LOGIN_MODULE, arguments.get("username"), arguments.get("password")));
        properties.put("max.partition.fetch.bytes", arguments.getOrDefault("partition_bytes", "1048576"));
        properties.put("key.deserializer", ByteArrayDeserializer.class.getName());
        properties.put("value.deserializer", ByteArrayDeserializer.class.getName());
        return properties;
    }

    /** Reads exactly {@code count} records; then commits behind the last one if metadata is given. */
    private Map<String, Object> read(KafkaConsumer<byte[], byte[]> consumer, TopicPartition partition, Map<String, String> arguments) {
        int wanted = Integer.parseInt(arguments.get("count"));
        int seen = 0;
        long next = -1;
        while (seen < wanted) {
            for (ConsumerRecord<byte[], byte[]> record : poll(consumer, seen, wanted)) {
                if (seen < wanted) {
                    record(record.offset(), record.timestamp(), record.key(), record.value());
                    next = record.offset() + 1;
                    seen++;
                }
            }
        }
        if (arguments.containsKey("metadata")) {
            consumer.commitSync(Collections.singletonMap(partition, new OffsetAndMetadata(next, arguments.get("metadata"))));
        }
        Map<String, Object> result = new LinkedHashMap<>();
        result.put("count", seen);
        return result;
    }

    private static ConsumerRecords<byte[], byte[]> poll(KafkaConsumer<byte[], byte[]> consumer, int seen, int wanted) {
        try {
            return POLL_TAKES_DURATION
                ? call(consumer, "poll", Duration.class, Duration.ofMillis(POLL_MS)) : call(consumer, "poll", long.class, POLL_MS);
        } catch (WakeupException deadline) {
            throw new IllegalStateException("read " + seen + " of " + wanted + " records before the deadline");
        }
    }

    private static Map<String, Object> committed(KafkaConsumer<byte[], byte[]> consumer, TopicPartition partition) {
        OffsetAndMetadata committed = COMMITTED_TAKES_SET
            ? KafkaScenarios.<Map<TopicPartition, OffsetAndMetadata>>call(consumer, "committed", Set.class, Collections.singleton(partition)).get(partition)
            : call(consumer, "committed", TopicPartition.class, partition);
        Map<String, Object> result = new LinkedHashMap<>();
        result.put("offset", committed == null ? null : committed.offset());
        result.put("metadata", committed == null ? null : committed.metadata());
        return result;
    }

    private static Map<String, Object> topics(KafkaConsumer<byte[], byte[]> consumer) {
        Map<String, Object> result = new LinkedHashMap<>();
        result.put("topics", new TreeSet<>(consumer.listTopics().keySet()));
        return result;
    }

    private static Map<String, Object> bounds(KafkaConsumer<byte[], byte[]> consumer, TopicPartition partition) {
        consumer.assign(Collections.singletonList(partition));
        Map<String, Object> result = new LinkedHashMap<>();
        consumer.seekToBeginning(Collections.singletonList(partition));
        result.put("begin", consumer.position(partition));
        consumer.seekToEnd(Collections.singletonList(partition));
        result.put("end", consumer.position(partition));
        return result;
    }

    private static Map<String, Object> offsetForTime(KafkaConsumer<byte[], byte[]> consumer, TopicPartition partition, long timestamp)
        throws ReflectiveOperationException {
        Map<?, ?> answers = call(consumer, "offsetsForTimes", Map.class, Collections.singletonMap(partition, timestamp));
        Object answer = answers.get(partition);
        Map<String, Object> result = new LinkedHashMap<>();
        result.put("offset", answer == null ? null : answer.getClass().getMethod("offset").invoke(answer));
        result.put("timestamp", answer == null ? null : answer.getClass().getMethod("timestamp").invoke(answer));
        return result;
    }

    private static boolean has(String method, Class<?> parameter) {
        try {
            KafkaConsumer.class.getMethod(method, parameter);
            return true;
        } catch (NoSuchMethodException absent) {
            return false;
        }
    }

    @SuppressWarnings("unchecked")
    private static <T> T call(KafkaConsumer<byte[], byte[]> consumer, String method, Class<?> parameter, Object argument) {
        try {
            return (T) KafkaConsumer.class.getMethod(method, parameter).invoke(consumer, argument);
        } catch (InvocationTargetException failed) {
            if (failed.getCause() instanceof RuntimeException) {
                throw (RuntimeException) failed.getCause();
            }
            throw new IllegalStateException(failed.getCause());
        } catch (ReflectiveOperationException absent) {
            throw new IllegalStateException(absent);
        }
    }
}
