import java.util.Map;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * A service in Java: publishes one signal (docs/how-to/publish-from-another-language.md).
 *
 * <p>java -cp "$(backbeat jars | sed -n 's/.* jars: //p')/*" docs/how-to/PublishSignal.java 127.0.0.1:9092 default Ada
 */
public class PublishSignal {
  public static void main(String[] arguments) throws Exception {
    String client = arguments[1];
    String buyer = arguments[2];
    String subject = "Camera of " + buyer;
    // A real service takes its JSON library, and its order's number as the id: a repeat with it makes no second node.
    String signal =
        """
        {"workflow": "Camera sale", "subject": "%s", "decider": "Shop", "signal": "Make Purchase", "id": "order-%s",
         "client_data": {"name": "Make Purchase", "params": ["%s"]}}
        """
            .formatted(subject, buyer, buyer);
    Map<String, Object> settings =
        Map.of("bootstrap.servers", arguments[0], "enable.idempotence", true, "acks", "all");
    try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
      // The key keeps the signals of one subject in their order.
      var place = producer.send(new ProducerRecord<>("backbeat.signals." + client, subject, signal)).get();
      System.out.println("published: " + place);
    }
  }
}
