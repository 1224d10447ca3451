package shop;

import com.aliyun.dts.subscribe.clients.ConsumerContext;
import com.aliyun.dts.subscribe.clients.ConsumerContext.ConsumerSubscribeMode;
import com.aliyun.dts.subscribe.clients.DTSConsumer;
import com.aliyun.dts.subscribe.clients.DefaultDTSConsumer;
import com.aliyun.dts.subscribe.clients.common.RecordListener;
import com.aliyun.dts.subscribe.clients.record.DefaultUserRecord;
import com.aliyun.dts.subscribe.clients.record.OperationType;
import com.aliyun.dts.subscribe.clients.record.RowImage;
import java.math.BigDecimal;
import java.util.Collections;
import java.util.EnumSet;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/**
 * What every order of a shop costs, kept in memory by following the changes of its table. Changes come at least once:
 * each is applied by the row's primary key, so one that comes twice does no harm, and is committed when it was applied.
 */
public final class Orders implements RecordListener {
    private static final Set<OperationType> CHANGES = EnumSet.of(OperationType.INSERT, OperationType.UPDATE, OperationType.DELETE);

    /** The amounts of all orders by their ids. */
    public final Map<Long, BigDecimal> amounts = new ConcurrentHashMap<>();

    @Override
    public void consume(DefaultUserRecord record) {
        if (CHANGES.contains(record.getOperationType()) && record.getSchema().getTableName().orElse("").equals("orders")) {
            if (record.getBeforeImage() != null) {
                amounts.remove(id(record.getBeforeImage()));
            }
            if (record.getAfterImage() != null) {
                RowImage row = record.getAfterImage();
                amounts.put(id(row), new BigDecimal(row.getValue("amount").toString()));
            }
        }
        record.commit("");
    }

    private static long id(RowImage row) {
        return Long.parseLong(row.getValue("id").toString());
    }

    /** A consumer that tells these orders of every change; `start()` follows until `close()`. */
    public DTSConsumer follow(String brokers, String topic, String sid, String username, String password) {
        String beginning = "1"; // seconds since 1970, where the group has consumed nothing yet
        ConsumerContext context =
            new ConsumerContext(brokers, topic, sid, username, password, beginning, ConsumerSubscribeMode.SUBSCRIBE);
        context.setUseLocalCheckpointStore(false); // the server keeps what was consumed
        context.setCheckpointCommitInterval(500); // milliseconds
        DTSConsumer consumer = new DefaultDTSConsumer(context);
        consumer.addRecordListeners(Collections.singletonMap("orders", this));
        return consumer;
    }
}
