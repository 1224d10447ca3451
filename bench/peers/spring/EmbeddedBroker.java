// Spring's EmbeddedKafka as a test has it, driven by lines: it prints "ready" and its address, makes a topic for
// each name it reads and answers "made", and ends with its input (bench/peers/line_broker.py).

import java.io.BufferedReader;
import java.io.InputStreamReader;
import org.apache.kafka.clients.admin.NewTopic;
import org.springframework.kafka.test.EmbeddedKafkaKraftBroker;

public final class EmbeddedBroker {
    private EmbeddedBroker() {}

    public static void main(String[] arguments) throws Exception {
        EmbeddedKafkaKraftBroker broker = new EmbeddedKafkaKraftBroker(1, 1);
        broker.afterPropertiesSet();
        System.out.println("ready " + broker.getBrokersAsString());
        BufferedReader names = new BufferedReader(new InputStreamReader(System.in));
        for (String name = names.readLine(); name != null; name = names.readLine()) {
            broker.addTopics(new NewTopic(name, 1, (short) 1));
            System.out.println("made");
        }
        broker.destroy();
        System.exit(0);
    }
}
