import java.nio.file.Files;
import java.time.Duration;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Random;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.LongDeserializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Produced;

/**
 * A word count with Apache Kafka Streams, exactly once, over the broker that is named: groups, transactions, internal
 * topics and changelogs as Kafka's own library uses them. It runs in two halves with a new instance for the second,
 * which restores its state from the changelog.
 */
public class WordCount {
  public static void main(String[] args) throws Exception {
    String brokers = args[0], name = "java-count-" + System.nanoTime();
    Properties client = new Properties();
    client.put("bootstrap.servers", brokers);
    try (Admin admin = Admin.create(client)) {
      admin.createTopics(List.of(new NewTopic(name + "-in", 3, (short) 1), new NewTopic(name + "-out", 3, (short) 1)))
          .all().get();
    }
    Map<String, Long> want = new HashMap<>();
    Random random = new Random(7);
    for (int half = 0; half < 2; half++) {
      feed(client, name + "-in", want, random);
      try (KafkaStreams app = app(brokers, name)) {
        app.start();
        await(client, name + "-out", want);
      }
    }
    System.out.println("equal: " + want.size() + " words, counted in two runs of Kafka Streams");
  }

  static void feed(Properties client, String topic, Map<String, Long> want, Random random) {
    try (var producer = new KafkaProducer<>(client, new StringSerializer(), new StringSerializer())) {
      for (int line = 0; line < 5000; line++) {
        StringBuilder words = new StringBuilder();
        for (int i = 0; i < 5; i++) {
          String word = "w" + (int) Math.abs(random.nextGaussian() * 200);
          want.merge(word, 1L, Long::sum);
          words.append(word).append(' ');
        }
        producer.send(new ProducerRecord<>(topic, words.toString()));
      }
    }
  }

  static KafkaStreams app(String brokers, String name) throws Exception {
    Properties config = new Properties();
    config.put(StreamsConfig.APPLICATION_ID_CONFIG, name);
    config.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, brokers);
    config.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
    config.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 2);
    config.put(StreamsConfig.STATE_DIR_CONFIG, Files.createTempDirectory("java-count").toString());
    config.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
    config.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
    StreamsBuilder builder = new StreamsBuilder();
    builder.<String, String>stream(name + "-in")
        .flatMapValues(line -> Arrays.asList(line.split(" ")))
        .groupBy((key, word) -> word)
        .count()
        .toStream()
        .to(name + "-out", Produced.with(Serdes.String(), Serdes.Long()));
    return new KafkaStreams(builder.build(), config);
  }

  static void await(Properties client, String topic, Map<String, Long> want) {
    Properties config = new Properties();
    config.putAll(client);
    config.put(ConsumerConfig.ISOLATION_LEVEL_CONFIG, "read_committed");
    Map<String, Long> got = new HashMap<>();
    long until = System.nanoTime() + Duration.ofSeconds(90).toNanos();
    try (var consumer = new KafkaConsumer<>(config, new StringDeserializer(), new LongDeserializer())) {
      var partitions = consumer.partitionsFor(topic).stream()
          .map(p -> new org.apache.kafka.common.TopicPartition(topic, p.partition())).toList();
      consumer.assign(partitions);
      consumer.seekToBeginning(partitions);
      while (!got.equals(want)) {
        if (System.nanoTime() > until) {
          System.out.println("DIFFERENT: " + got.size() + " of " + want.size() + " words came");
          System.exit(1);
        }
        for (ConsumerRecord<String, Long> record : consumer.poll(Duration.ofMillis(200))) {
          got.put(record.key(), record.value());
        }
      }
    }
  }
}
