import com.zendesk.maxwell.Maxwell;
import com.zendesk.maxwell.MaxwellContext;
import com.zendesk.maxwell.producer.AbstractProducer;
import com.zendesk.maxwell.producer.ProducerFactory;
import com.zendesk.maxwell.row.RowMap;

/**
 * A producer of Maxwell's that makes each row change JSON, as its own producers do, and sends it nowhere; it ends the
 * process with the last one wanted. The number is the system property "rows"; "print" prints each change.
 */
public final class MaxwellReader implements ProducerFactory {
    public static void main(String[] arguments) {
        Maxwell.main(arguments);
    }

    @Override
    public AbstractProducer createProducer(MaxwellContext context) {
        Seen seen = new Seen(Integer.getInteger("rows"));
        boolean printing = Boolean.getBoolean("print");
        return new AbstractProducer(context) {
            @Override
            public void push(RowMap row) throws Exception {
                String json = row.toJSON(outputConfig);
                if (json == null || !row.shouldOutput(outputConfig)) { // a heartbeat of Maxwell's own
                    context.setPosition(row);
                    return;
                }
                if (printing) {
                    System.out.println(json);
                }
                long id = ((Number) row.getData("id")).longValue();
                switch (row.getRowType()) {
                    case "insert" -> seen.insert(id);
                    case "update" -> seen.update(id);
                    case "delete" -> seen.delete(id);
                    default -> throw new IllegalStateException("a row of type " + row.getRowType());
                }
                context.setPosition(row);
                seen.handedOver();
            }
        };
    }
}
