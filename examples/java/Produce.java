import java.util.Map;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

/** Produces one calculation with Apache Kafka's own client; it is idempotent with acks=all by default. */
public class Produce {
    public static void main(String[] arguments) throws Exception {
        Map<String, String> env = System.getenv();
        Map<String, Object> settings =
                Map.of("bootstrap.servers", env.getOrDefault("KAFKA_BOOTSTRAP", "127.0.0.1:9092"));
        String request =
                """
                {
                  "callback_url": "%s",
                  "message": [{"name": "sum", "num_1": 40, "num_2": 2, "operation": "+", "result_rounding": 0}]
                }
                """
                        .formatted(env.get("CALLBACK_URL"));
        String topic = env.getOrDefault("TOPIC", "calculation.requests");
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            var stored = producer.send(new ProducerRecord<>(topic, request)).get();
            System.out.println(stored);
        }
    }
}
