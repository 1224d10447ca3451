package shop;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.aliyun.dts.subscribe.clients.DTSConsumer;
import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.math.BigDecimal;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class OrdersTest {
    private static Fixture fixture;
    private JsonNode channel;

    @BeforeAll
    static void start() throws IOException {
        fixture = new Fixture();
    }

    @AfterAll
    static void end() throws IOException {
        fixture.close();
    }

    @BeforeEach
    void makeChannel() throws Exception {
        channel = fixture.call("channel");
        call("table", "sql", "CREATE TABLE orders (id BIGINT PRIMARY KEY, amount DECIMAL(9,2) NOT NULL)");
    }

    @Test
    void rowsThatComeChangeAndGo() throws Exception {
        Orders orders = new Orders();
        try (Following following = new Following(orders)) {
            insert(order(1, "9.90"), order(2, "20"));
            call("update", "table", "orders", "rows", List.of(List.of(order(1, "9.90"), order(1, "8.50"))));
            call("delete", "table", "orders", "rows", List.of(order(2, "20")));
            call("wait_consumed");
            assertEquals(Map.of(1L, new BigDecimal("8.50")), orders.amounts);
        }
    }

    @Test
    void aRestartMissesNothing() throws Exception {
        try (Following following = new Following(new Orders())) {
            insert(order(1, "10.00"));
            call("wait_consumed");
        }
        insert(order(2, "20.00"));
        Orders restarted = new Orders();
        try (Following following = new Following(restarted)) {
            call("wait_consumed");
            // The SDK takes up at the second that it committed, so the last changes come again.
            assertEquals(new BigDecimal("20.00"), restarted.amounts.get(2L));
        }
    }

    @Test
    void aConnectionThatBreaksLosesNothing() throws Exception {
        call("fault_cut", "api", "Fetch", "after_bytes", 20);
        Orders orders = new Orders();
        try (Following following = new Following(orders)) {
            insert(order(1, "10.00"));
            call("wait_consumed");
            assertEquals(Map.of(1L, new BigDecimal("10.00")), orders.amounts);
        }
    }

    private static Map<String, Object> order(int id, String amount) {
        return Map.of("id", id, "amount", amount);
    }

    @SafeVarargs
    private void insert(Map<String, Object>... rows) throws Exception {
        call("insert", "table", "orders", "rows", List.of(rows));
    }

    /** A call about this test's channel. */
    private void call(String name, Object... arguments) throws Exception {
        Object[] all = new Object[arguments.length + 2];
        System.arraycopy(arguments, 0, all, 2, arguments.length);
        all[0] = "channel";
        all[1] = channel.get("channel").asText();
        fixture.call(name, all);
    }

    /** The program, running in a thread. */
    private final class Following implements AutoCloseable {
        private final DTSConsumer consumer;
        private final Thread thread;

        Following(Orders orders) {
            consumer = orders.follow(fixture.brokers, text("topic"), text("sid"), text("username"), text("password"));
            thread = new Thread(consumer::start, "orders");
            thread.start();
        }

        private String text(String name) {
            return channel.get(name).asText();
        }

        @Override
        public void close() throws InterruptedException {
            consumer.close();
            thread.join();
        }
    }
}
