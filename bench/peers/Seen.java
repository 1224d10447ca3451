import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;

/**
 * What a reader of a binlog saw, and how long it took from the first row change on, as JSON:
 * {"inserts", "updates", "deletes", "ids", "timed_rows", "seconds", "cpu_seconds"}; ids is the sum of the rows' ids.
 */
final class Seen {
    private static final OperatingSystemMXBean SYSTEM =
            (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();

    private final int wanted;
    private int inserts;
    private int updates;
    private int deletes;
    private long ids;
    private int before;
    private long startNanos;
    private long startCpuNanos;

    Seen(int wanted) {
        this.wanted = wanted;
    }

    int rows() {
        return inserts + updates + deletes;
    }

    void insert(long id) {
        inserts++;
        ids += id;
    }

    void update(long id) {
        updates++;
        ids += id;
    }

    void delete(long id) {
        deletes++;
        ids += id;
    }

    /** What was handed over together is counted: the clock starts behind the first rows, and with the last we end. */
    void handedOver() {
        if (startNanos == 0 && rows() > 0) {
            before = rows();
            startNanos = System.nanoTime();
            startCpuNanos = SYSTEM.getProcessCpuTime();
        }
        if (rows() < wanted) {
            return;
        }
        double seconds = (System.nanoTime() - startNanos) / 1e9;
        double cpuSeconds = (SYSTEM.getProcessCpuTime() - startCpuNanos) / 1e9;
        System.out.printf(
                java.util.Locale.ROOT,
                "{\"inserts\": %d, \"updates\": %d, \"deletes\": %d, \"ids\": %d, "
                        + "\"timed_rows\": %d, \"seconds\": %.9f, \"cpu_seconds\": %.9f}%n",
                inserts, updates, deletes, ids, rows() - before, seconds, cpuSeconds);
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }
}
