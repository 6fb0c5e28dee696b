import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.NullNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * A worker in Java: runs the activities of one client application (docs/how-to/worker-in-another-language.md).
 *
 * <p>java -cp "$(backbeat jars | sed -n 's/.* jars: //p')/*" docs/how-to/ShopWorker.java 127.0.0.1:9092 default
 *
 * <p>One thread, one activity after the other: enough to show every byte that is read and written.
 */
public class ShopWorker {
  static final ObjectMapper JSON = new ObjectMapper();

  /** What activities do, by name. What a handler returns is the node's result; what it throws is its error. */
  static final Map<String, Handler> HANDLERS =
      Map.of(
          "Make Purchase",
          activity -> {
            activity.add("Reserve money", activity.params.get(0), 499); // begins once this has returned
            return "Camera for " + activity.params.get(0).asText();
          },
          "Reserve money",
          activity -> {
            if (activity.params.get(0).asText().equals("Eve")) {
              throw new IllegalStateException("the card was declined");
            }
            // The bank is given the node's id as its key: the same in every attempt.
            return "reserved " + activity.params.get(1).asInt() + " under " + activity.name;
          },
          "Send receipt",
          // It takes the result of a node before it: where its arguments refer to it, the value stands.
          activity -> "receipt: " + activity.params.get(0).asText());

  interface Handler {
    Object run(Activity activity) throws Exception;
  }

  public static void main(String[] arguments) throws Exception {
    String client = arguments[1];
    Map<String, Object> reading =
        Map.of(
            "bootstrap.servers", arguments[0],
            "group.id", "backbeat-worker-" + client,
            "auto.offset.reset", "earliest",
            "enable.auto.commit", false);
    Map<String, Object> writing = Map.of("bootstrap.servers", arguments[0], "linger.ms", 0);
    try (var consumer = new KafkaConsumer<>(reading, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        var producer = new KafkaProducer<>(writing, new ByteArraySerializer(), new ByteArraySerializer())) {
      Thread main = Thread.currentThread();
      Runtime.getRuntime().addShutdownHook(new Thread(() -> {
        consumer.wakeup();
        join(main);
      }));
      consumer.subscribe(List.of("backbeat.activities." + client));
      System.out.println("ready: " + String.join(", ", HANDLERS.keySet()));
      while (true) {
        ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofSeconds(1));
        for (ConsumerRecord<byte[], byte[]> record : records) {
          answer(record, producer);
        }
        producer.flush(); // Only what is answered may be committed: what is not comes again.
        consumer.commitSync();
      }
    } catch (WakeupException stopped) {
      System.out.println("stopped");
    }
  }

  static void answer(ConsumerRecord<byte[], byte[]> record, KafkaProducer<byte[], byte[]> producer) throws Exception {
    Activity activity = Activity.read(record.value());
    if (activity == null) {
      System.out.println("offset " + record.offset() + ": a schema that this worker does not know, passed over");
      return;
    }
    if (activity.kind == Activity.NOTIFICATION) {
      System.out.println(activity.name + " has no retries left"); // Nothing is answered.
      return;
    }
    byte[] command;
    try {
      Handler handler = HANDLERS.get(activity.name);
      if (handler == null) {
        throw new IllegalArgumentException("no activity '" + activity.name + "' is known here");
      }
      Object result = handler.run(activity);
      command = activity.changeNode("completed", response(result, null));
    } catch (Exception error) {
      activity.children.clear(); // All of an attempt's outcome, or nothing.
      command = activity.changeNode("errored", response(null, error));
    }
    // The partition is named: every id begins with what says it, and no client's partitioner knows that.
    int partitions = producer.partitionsFor("backbeat.commands").size();
    int partition = (ByteBuffer.wrap(activity.id).getInt() & 0x7fffffff) % partitions;
    producer.send(
        new ProducerRecord<>("backbeat.commands", partition, activity.subject, command),
        (metadata, failure) -> {
          if (failure != null) {
            Runtime.getRuntime().halt(1); // Not acknowledged: start over from the committed offset.
          }
        });
  }

  static byte[] response(Object result, Exception error) throws Exception {
    var response = JSON.createObjectNode().put("jsonrpc", "2.0");
    response.set("result", JSON.valueToTree(result));
    response.set(
        "error",
        error == null ? null : JSON.createObjectNode().put("code", -32000).put("message", error.toString()));
    return JSON.writeValueAsBytes(response.putNull("id"));
  }

  static void join(Thread thread) {
    try {
      thread.join();
    } catch (InterruptedException interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  /** One attempt of one node. */
  static class Activity {
    static final byte[] ACTIVITY = HexFormat.of().parseHex("c301" + "5cc526bf8cd095d5");
    static final byte[] CHANGE_NODE = HexFormat.of().parseHex("c301" + "f0bde74fe64b802a");
    static final int NOTIFICATION = 2;

    byte[] id;
    byte[] userId;
    byte[] subject;
    String name;
    String tid;
    int attempt;
    int kind;
    JsonNode params;
    List<byte[]> children = new ArrayList<>();

    /** schemas/Activity.avsc, field by field: what is not needed is read all the same. Null: another schema. */
    static Activity read(byte[] record) throws Exception {
      if (record == null || !Arrays.equals(record, 0, 10, ACTIVITY, 0, 10)) {
        return null;
      }
      var in = new AvroReader(record, 10);
      var read = new Activity();
      read.id = in.fixed(16);
      in.fixed(16); // workflow_id
      in.optional(() -> in.fixed(16)); // parent_id
      read.userId = in.fixed(16);
      read.name = in.string();
      in.number(); // mode
      in.string(); // type
      read.params = JSON.readTree(in.bytes()).path("params"); // of client_data
      in.bytes(); // metadata
      read.subject = in.bytes();
      in.string(); // decider
      in.string(); // workflow_name
      in.number(); // server
      in.number(); // client
      in.number(); // created_at
      in.number(); // fires_at
      read.attempt = (int) in.number();
      in.optional(in::number); // complete_by
      in.number(); // retries_remaining
      in.fixed(8); // retry_interval_seconds
      in.optional(() -> in.fixed(16)); // parent_link_id
      in.number(); // depth
      in.number(); // seq
      read.tid = in.string();
      in.number(); // priority
      in.string(); // fairness_key
      in.fixed(1); // waits_for_slot
      in.optional(in::number); // granted_at
      in.array(() -> in.fixed(16)); // waits_for_results
      in.optional( // progress: fraction and note
          () -> {
            in.optional(() -> in.fixed(8));
            in.string();
          });
      in.fixed(1); // given_up
      read.kind = (int) in.number();
      in.optional(in::string); // notification_name
      in.optional(in::string); // message
      in.optional(in::bytes); // error
      in.number(); // takes
      Map<Long, ArrayNode> results = new HashMap<>();
      in.array(() -> read.takeResult(in, results));
      if (in.fixed(1)[0] != 0) {
        throw new IllegalStateException("more results than fit: a real worker asks GetResults for the others");
      }
      in.array( // counts: there are some where there are more results
          () -> {
            in.number();
            in.number();
          });
      read.params = withResults(read.params, results);
      return read;
    }

    /** schemas/TakenResult.avsc: the response of a node before this one, or this one's default in place of it. */
    private void takeResult(AvroReader in, Map<Long, ArrayNode> results) {
      long slot = in.number();
      in.fixed(16); // node_id
      byte[][] response = new byte[1][];
      in.optional(() -> response[0] = in.bytes());
      boolean isDefault = in.fixed(1)[0] != 0;
      in.optional(
          () -> {
            in.number(); // failure_index: a member of a group that has failed, which the group allows, is null
            response[0] = null;
          });
      try {
        JsonNode value = response[0] == null ? NullNode.instance : JSON.readTree(response[0]);
        value = isDefault || !value.has("result") ? value : value.get("result");
        results.computeIfAbsent(slot, unused -> JSON.createArrayNode()).add(value);
      } catch (IOException unreadable) {
        throw new UncheckedIOException(unreadable);
      }
    }

    /** The arguments with results in place of {"$backbeat": {"result": 0}} and {"$backbeat": {"results": 0}}. */
    private static JsonNode withResults(JsonNode value, Map<Long, ArrayNode> results) {
      JsonNode reference = value.path("$backbeat");
      if (reference.has("results")) {
        return results.getOrDefault(reference.get("results").asLong(), JSON.createArrayNode());
      }
      if (reference.has("result")) {
        ArrayNode values = results.get(reference.get("result").asLong());
        return values == null ? NullNode.instance : values.get(0);
      }
      if (value instanceof ArrayNode items) {
        for (int place = 0; place < items.size(); place++) {
          items.set(place, withResults(items.get(place), results));
        }
      } else if (value instanceof ObjectNode fields) {
        fields.fieldNames().forEachRemaining(name -> fields.set(name, withResults(fields.get(name), results)));
      }
      return value;
    }

    /** A child that begins once this activity is completed: schemas/NewNode.avsc. */
    void add(String name, Object... params) throws Exception {
      byte[] clientData = JSON.writeValueAsBytes(Map.of("name", name, "params", params));
      children.add(
          new AvroWriter()
              .string(name)
              .fixed(userId) // who runs it
              .number(0) // mode: blocking
              .string("activity")
              .bytes(clientData)
              .string("{}") // metadata
              .number(0) // fires_at: null
              .number(0) // parent_link_id: null
              .real(2.0) // retry_interval_seconds
              .number(3) // retries
              .written());
    }

    /** The answer: schemas/ChangeNode.avsc. */
    byte[] changeNode(String status, byte[] response) throws Exception {
      var out =
          new AvroWriter()
              .fixed(CHANGE_NODE)
              .fixed(commandId())
              .number(1) // a union's second branch: user_id is not null
              .fixed(userId)
              .string(tid)
              .number(0) // reply_to: nobody waits; a refusal goes to the dead letters
              .number(0) // body_hash
              .number(0) // source
              .fixed(id)
              .string(status)
              .number(1)
              .bytes(response);
      if (!children.isEmpty()) {
        out.number(children.size());
        children.forEach(out::fixed);
      }
      return out.number(0) // the end of the array
          .number(1)
          .number(attempt)
          .fixed(new byte[] {1}) // retriable: true
          .written();
    }

    /** The same for the same attempt: what is sent twice is applied once. */
    private byte[] commandId() throws Exception {
      MessageDigest digest = MessageDigest.getInstance("SHA-256");
      digest.update("answer".getBytes(StandardCharsets.UTF_8));
      digest.update(id);
      digest.update(ByteBuffer.allocate(4).putInt(attempt).array());
      return Arrays.copyOf(digest.digest(), 16);
    }
  }

  /** Avro's binary encoding, as much as is needed here; a real worker takes Avro's library. */
  static class AvroReader {
    private final ByteBuffer rest;

    AvroReader(byte[] record, int from) {
      rest = ByteBuffer.wrap(record, from, record.length - from);
    }

    /** int, long, an enum's place, a union's branch: 7 bits a byte, least first, zigzag. */
    long number() {
      long value = 0;
      for (int shift = 0; ; shift += 7) {
        byte next = rest.get();
        value |= (long) (next & 0x7f) << shift;
        if (next >= 0) {
          return (value >>> 1) ^ -(value & 1);
        }
      }
    }

    byte[] fixed(int size) {
      byte[] found = new byte[size];
      rest.get(found);
      return found;
    }

    byte[] bytes() {
      return fixed((int) number());
    }

    String string() {
      return new String(bytes(), StandardCharsets.UTF_8);
    }

    /** Blocks of items, each with its count; a count below zero is followed by the block's size. The last is empty. */
    void array(Runnable item) {
      for (long count = number(); count != 0; count = number()) {
        if (count < 0) {
          count = -count;
          number();
        }
        for (long place = 0; place < count; place++) {
          item.run();
        }
      }
    }

    /** A union of null and something. */
    void optional(Runnable something) {
      if (number() == 1) {
        something.run();
      }
    }
  }

  /** The other direction. */
  static class AvroWriter {
    private final ByteArrayOutputStream out = new ByteArrayOutputStream();

    AvroWriter number(long value) {
      long rest = (value << 1) ^ (value >> 63);
      for (; (rest & ~0x7fL) != 0; rest >>>= 7) {
        out.write((int) (rest & 0x7f | 0x80));
      }
      out.write((int) rest);
      return this;
    }

    AvroWriter fixed(byte[] value) {
      out.writeBytes(value);
      return this;
    }

    AvroWriter bytes(byte[] value) {
      return number(value.length).fixed(value);
    }

    AvroWriter string(String value) {
      return bytes(value.getBytes(StandardCharsets.UTF_8));
    }

    AvroWriter real(double value) {
      return fixed(ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putDouble(value).array());
    }

    byte[] written() {
      return out.toByteArray();
    }
  }
}
