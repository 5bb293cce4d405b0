import com.sun.management.OperatingSystemMXBean;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.Metric;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.CloseOptions;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.Joined;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.Repartitioned;
import org.apache.kafka.streams.kstream.SessionWindows;
import org.apache.kafka.streams.kstream.StreamJoined;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.WindowedSerdes;
import org.apache.kafka.streams.processor.StateRestoreListener;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.RocksDBConfigSetter;
import org.rocksdb.BlockBasedTableConfig;
import org.rocksdb.LRUCache;
import org.rocksdb.Options;

/**
 * The workloads of "thalweg bench" as applications of Kafka Streams, over the same topics.
 *
 * <pre>Bench HOST:PORT WORKLOAD SETTING=VALUE…</pre>
 *
 * Settings: inputs (topics separated by commas, tables first), guarantee (eos, alo), commit (milliseconds; 0 is Kafka
 * Streams' default), threads, tuned (true, false), words (how many words the input has), dir
 * (for the local state).
 *
 * Each line "run" on standard input runs the workload once from the beginning, in this JVM, which is warm after the
 * first; a line of JSON with the fields of "thalweg bench --json" answers. The latency workload takes "start NAME" and
 * "stop" instead. The program ends with its input.
 *
 * The clock runs from the moment that the application is RUNNING until its last commit. Exactly once, that is when the
 * group's committed offsets have reached the ends of all topics; at least once, where the default commit interval is
 * 30 s, when all records are processed and close() has committed them.
 */
public class Bench {
  static final Serde<String> STRING = Serdes.String();
  static final Serde<byte[]> BYTES = Serdes.ByteArray();
  static final Serde<Long> LONG = Serdes.Long();
  static final Duration WINDOW = Duration.ofSeconds(10);
  static final List<String> ON_DISK = List.of("large", "huge", "huge-z");

  final String brokers;
  final String workload;
  final Map<String, String> settings = new HashMap<>();
  final List<String> inputs;
  final boolean exactlyOnce;
  final boolean tuned;
  final int threads;
  final Admin admin;

  public static void main(String[] args) throws Exception {
    Bench bench = new Bench(args);
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
    String name = null;
    KafkaStreams serving = null;
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      if (line.equals("run")) {
        System.out.println(bench.workload.equals("restore") ? bench.restore() : bench.run());
      } else if (line.startsWith("start ")) {
        name = line.substring("start ".length());
        serving = bench.serve(name);
        System.out.println("{\"running\":true}");
      } else if (line.equals("stop")) {
        bench.close(serving);
        bench.remove(name);
        System.out.println("{\"stopped\":true}");
      } else {
        throw new IllegalArgumentException("unknown command: " + line);
      }
      System.out.flush();
    }
    System.exit(0);
  }

  Bench(String[] args) {
    brokers = args[0];
    workload = args[1];
    for (String arg : Arrays.asList(args).subList(2, args.length)) {
      settings.put(arg.substring(0, arg.indexOf('=')), arg.substring(arg.indexOf('=') + 1));
    }
    inputs = List.of(settings.get("inputs").split(","));
    exactlyOnce = settings.get("guarantee").equals("eos");
    tuned = Boolean.parseBoolean(settings.get("tuned"));
    threads = Integer.parseInt(settings.get("threads"));
    admin = Admin.create(Map.of("bootstrap.servers", brokers));
  }

  // The workloads.

  void build(StreamsBuilder b, List<String> in, String out) {
    switch (workload) {
      case "stateless" -> b.stream(in.get(0), Consumed.with(BYTES, BYTES))
          .mapValues(Bench::upperCase)
          .filter((k, v) -> v[0] != '0')
          .to(out, Produced.with(BYTES, BYTES));
      case "wordcount" -> b.stream(in.get(0), Consumed.with(BYTES, STRING))
          .flatMapValues(line -> Arrays.asList(line.split(" ")))
          .groupBy((k, word) -> word, Grouped.with("words", STRING, STRING))
          .count(Materialized.as("counts"))
          .toStream()
          .to(out, Produced.with(STRING, LONG));
      case "count" -> events(b, in.get(0))
          .groupByKey(Grouped.with(STRING, BYTES))
          .count(Materialized.as("counts"))
          .toStream()
          .to(out, Produced.with(STRING, LONG));
      case "window" -> windows(events(b, in.get(0)), out);
      case "window-repartition" -> windows(events(b, in.get(0))
          .selectKey((k, v) -> k)
          .repartition(Repartitioned.with(STRING, BYTES).withName("again").withNumberOfPartitions(4)), out);
      case "session" -> events(b, in.get(0))
          .groupByKey(Grouped.with(STRING, BYTES))
          .windowedBy(SessionWindows.ofInactivityGapAndGrace(Duration.ofSeconds(5), Duration.ofSeconds(1)))
          .count(Materialized.as("sessions"))
          .toStream()
          .to(out, Produced.with(WindowedSerdes.sessionWindowedSerdeFrom(String.class), LONG));
      case "table-join" -> {
        KTable<String, byte[]> table = b.table(in.get(0), Consumed.with(STRING, BYTES), rows());
        events(b, in.get(1))
            .join(table, Bench::rowAndEvent, Joined.with(STRING, BYTES, BYTES))
            .to(out, Produced.with(STRING, BYTES));
      }
      case "stream-join" -> events(b, in.get(0))
          .join(events(b, in.get(1)), Bench::both,
              JoinWindows.ofTimeDifferenceAndGrace(Duration.ofSeconds(5), Duration.ofSeconds(1)),
              StreamJoined.with(STRING, BYTES, BYTES).withStoreName("join"))
          .to(out, Produced.with(STRING, BYTES));
      case "large", "huge", "huge-z" -> events(b, in.get(0))
          .groupByKey(Grouped.with(STRING, BYTES))
          .reduce((first, last) -> last, rows())
          .toStream()
          .to(out, Produced.with(STRING, BYTES));
      case "restore" -> events(b, in.get(0)).toTable(rows());
      case "latency" -> b.stream(in.get(0), Consumed.with(STRING, BYTES))
          .groupByKey()
          .aggregate(() -> new byte[16], (k, v, sent) -> countAndTime(sent, v),
              Materialized.<String, byte[], KeyValueStore<Bytes, byte[]>>as("sent").withKeySerde(STRING)
                  .withValueSerde(BYTES))
          .toStream()
          .to(out, Produced.with(STRING, BYTES));
      default -> throw new IllegalArgumentException("no workload " + workload);
    }
  }

  static KStream<String, byte[]> events(StreamsBuilder b, String topic) {
    return b.stream(topic, Consumed.with(STRING, BYTES));
  }

  static Materialized<String, byte[], KeyValueStore<Bytes, byte[]>> rows() {
    return Materialized.<String, byte[], KeyValueStore<Bytes, byte[]>>as("rows").withKeySerde(STRING)
        .withValueSerde(BYTES);
  }

  static void windows(KStream<String, byte[]> in, String out) {
    in.groupByKey(Grouped.with(STRING, BYTES))
        .windowedBy(TimeWindows.ofSizeAndGrace(WINDOW, Duration.ofSeconds(5)))
        .count(Materialized.as("windows"))
        .toStream()
        .to(out, Produced.with(WindowedSerdes.timeWindowedSerdeFrom(String.class, WINDOW.toMillis()), LONG));
  }

  static byte[] upperCase(byte[] v) {
    byte[] out = new byte[v.length];
    for (int i = 0; i < v.length; i++) {
      byte c = v[i];
      out[i] = c >= 'a' && c <= 'z' ? (byte) (c - 32) : c;
    }
    return out;
  }

  static byte[] rowAndEvent(byte[] event, byte[] row) {
    byte[] out = Arrays.copyOf(row, row.length + 11);
    out[row.length] = '|';
    System.arraycopy(event, 0, out, row.length + 1, 10);
    return out;
  }

  static byte[] both(byte[] left, byte[] right) {
    byte[] out = Arrays.copyOf(left, 20);
    System.arraycopy(right, 0, out, 10, 10);
    return out;
  }

  static byte[] countAndTime(byte[] sent, byte[] value) {
    return ByteBuffer.allocate(16).putLong(ByteBuffer.wrap(sent).getLong() + 1).putLong(ByteBuffer.wrap(value).getLong())
        .array();
  }

  // How they run.

  /** Runs the workload over all that its inputs hold, and checks what came out. */
  String run() throws Exception {
    String app = workload + "-java-" + Long.toString(System.nanoTime(), 36);
    String out = app + "-out";
    create(out);
    KafkaStreams streams = application(app, inputs, out);
    System.gc();
    start(streams, new CountDownLatch(0));
    Clock clock = new Clock();
    if (exactlyOnce) {
      awaitCommitted(streams, app);
    } else {
      awaitProcessed(streams);
      close(streams);
    }
    clock.stop();
    close(streams);
    streams.cleanUp();
    Results results = results(out);
    remove(app);
    return clock.json(this, results);
  }

  /** Fills a table, deletes the local state, and takes the time from start to RUNNING. */
  String restore() throws Exception {
    String app = workload + "-java-" + Long.toString(System.nanoTime(), 36);
    KafkaStreams streams = application(app, inputs, null);
    start(streams, new CountDownLatch(0));
    awaitCommitted(streams, app);
    close(streams);
    streams.cleanUp();
    streams = application(app, inputs, null);
    Results results = new Results();
    AtomicLong restored = new AtomicLong();
    CountDownLatch ended = new CountDownLatch(1);
    streams.setGlobalStateRestoreListener(new StateRestoreListener() {
      @Override public void onRestoreStart(TopicPartition p, String store, long from, long to) {}

      @Override public void onBatchRestored(TopicPartition p, String store, long to, long n) {}

      @Override public void onRestoreEnd(TopicPartition p, String store, long n) {
        restored.addAndGet(n);
        ended.countDown();
      }
    });
    System.gc();
    Clock clock = new Clock();
    start(streams, ended);
    clock.stop();
    close(streams);
    streams.cleanUp();
    remove(app);
    results.count = restored.get();
    return clock.json(this, results);
  }

  /** Runs the latency workload until it is closed. */
  KafkaStreams serve(String name) throws Exception {
    KafkaStreams streams = application(name, List.of(name + "-in"), name + "-out");
    start(streams, new CountDownLatch(0));
    return streams;
  }

  KafkaStreams application(String app, List<String> in, String out) {
    StreamsBuilder b = new StreamsBuilder();
    build(b, in, out);
    return new KafkaStreams(b.build(), config(app));
  }

  Properties config(String app) {
    Properties config = new Properties();
    config.put(StreamsConfig.APPLICATION_ID_CONFIG, app);
    config.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, brokers);
    config.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG,
        exactlyOnce ? StreamsConfig.EXACTLY_ONCE_V2 : StreamsConfig.AT_LEAST_ONCE);
    config.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, threads);
    config.put(StreamsConfig.STATE_DIR_CONFIG, settings.get("dir") + "/state");
    config.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
    config.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.ByteArraySerde.class);
    config.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
    if (tuned) {
      config.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 1000);
      config.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 256L << 20);
      config.put(StreamsConfig.BUFFERED_RECORDS_PER_PARTITION_CONFIG, 10_000);
      config.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 10_000);
      config.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_PARTITION_FETCH_BYTES_CONFIG), 16 << 20);
      config.put(StreamsConfig.consumerPrefix(ConsumerConfig.FETCH_MAX_BYTES_CONFIG), 64 << 20);
      config.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), 256 << 10);
      config.put(StreamsConfig.producerPrefix(ProducerConfig.BUFFER_MEMORY_CONFIG), 128L << 20);
    }
    long commit = Long.parseLong(settings.getOrDefault("commit", "0"));
    if (commit > 0) {
      config.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, commit);
    }
    if (ON_DISK.contains(workload)) {
      config.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 64L << 20);
      config.put(StreamsConfig.ROCKSDB_CONFIG_SETTER_CLASS_CONFIG, SmallBlockCache.class);
    }
    if (workload.equals("latency")) { // every update goes out, as there
      config.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 0L);
      if (!exactlyOnce) {
        config.put(StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), 0);
      }
    }
    return config;
  }

  /** Leaves most rows of the large workload on disk. */
  public static class SmallBlockCache implements RocksDBConfigSetter {
    private final LRUCache cache = new LRUCache(64L << 20);

    @Override
    public void setConfig(String store, Options options, Map<String, Object> configs) {
      BlockBasedTableConfig table = (BlockBasedTableConfig) options.tableFormatConfig();
      table.setBlockCache(cache);
      options.setTableFormatConfig(table);
    }

    @Override
    public void close(String store, Options options) {
      cache.close();
    }
  }

  void start(KafkaStreams streams, CountDownLatch also) throws Exception {
    CountDownLatch running = new CountDownLatch(1);
    streams.setStateListener((now, before) -> {
      if (now == KafkaStreams.State.RUNNING) {
        running.countDown();
      }
    });
    streams.setUncaughtExceptionHandler(e -> {
      e.printStackTrace();
      System.exit(1);
      return null;
    });
    streams.start();
    if (!running.await(5, TimeUnit.MINUTES) || !also.await(5, TimeUnit.MINUTES)) {
      throw new IllegalStateException("the application did not start in 5 minutes; it is " + streams.state());
    }
  }

  void close(KafkaStreams streams) {
    streams.close(CloseOptions.timeout(Duration.ofMinutes(2))
        .withGroupMembershipOperation(CloseOptions.GroupMembershipOperation.LEAVE_GROUP));
  }

  /** Waits until the group has committed the ends of the inputs, then those of the topics between the tasks. */
  void awaitCommitted(KafkaStreams streams, String app) throws Exception {
    awaitOffsets(streams, app, inputs, 0);
    List<String> between = new ArrayList<>();
    for (String topic : admin.listTopics().names().get()) {
      if (topic.startsWith(app + "-") && topic.endsWith("-repartition")) {
        between.add(topic);
      }
    }
    // What was written there lies before the mark of its transaction.
    awaitOffsets(streams, app, between, exactlyOnce ? 1 : 0);
  }

  void awaitOffsets(KafkaStreams streams, String app, List<String> topics, long marks) throws Exception {
    Map<TopicPartition, Long> ends = ends(topics);
    while (!ends.isEmpty()) {
      if (streams.state() == KafkaStreams.State.ERROR) {
        throw new IllegalStateException("the application has failed");
      }
      Map<TopicPartition, OffsetAndMetadata> at =
          admin.listConsumerGroupOffsets(app).partitionsToOffsetAndMetadata().get();
      ends.entrySet().removeIf(e -> e.getValue() == 0
          || Optional.ofNullable(at.get(e.getKey())).map(o -> o.offset() >= e.getValue() - marks).orElse(false));
      Thread.sleep(ends.isEmpty() ? 0 : 25);
    }
  }

  /** Waits until the threads have processed each record of the inputs, and of the topics between the tasks. */
  void awaitProcessed(KafkaStreams streams) throws Exception {
    long want = records();
    switch (workload) {
      case "wordcount" -> want += Long.parseLong(settings.get("words"));
      case "window-repartition" -> want *= 2;
      case "table-join" -> want += sum(List.of(inputs.get(0)));
      default -> {}
    }
    while (true) {
      double processed = 0;
      for (Metric m : streams.metrics().values()) {
        if (m.metricName().name().equals("process-total") && m.metricName().group().equals("stream-thread-metrics")) {
          processed += (double) m.metricValue();
        }
      }
      if (processed >= want) {
        return;
      }
      if (streams.state() == KafkaStreams.State.ERROR) {
        throw new IllegalStateException("the application has failed");
      }
      Thread.sleep(5);
    }
  }

  /** The records that count: not those of a table. */
  long records() throws Exception {
    return sum(workload.equals("table-join") ? inputs.subList(1, 2) : inputs);
  }

  long sum(List<String> topics) throws Exception {
    return ends(topics).values().stream().mapToLong(Long::longValue).sum();
  }

  Map<TopicPartition, Long> ends(List<String> topics) throws Exception {
    Map<TopicPartition, OffsetSpec> ask = new HashMap<>();
    admin.describeTopics(topics).allTopicNames().get().forEach((topic, about) -> about.partitions()
        .forEach(p -> ask.put(new TopicPartition(topic, p.partition()), OffsetSpec.latest())));
    Map<TopicPartition, Long> ends = new HashMap<>();
    admin.listOffsets(ask).all().get().forEach((p, end) -> ends.put(p, end.offset()));
    return ends;
  }

  void create(String topic) throws Exception {
    int partitions = (int) ends(inputs).keySet().stream().filter(p -> p.topic().equals(inputs.get(0))).count();
    admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1).configs(Map.of("retention.ms", "-1")))).all()
        .get();
  }

  void remove(String app) throws Exception {
    admin.deleteTopics(admin.listTopics().names().get().stream().filter(t -> t.startsWith(app + "-")).toList()).all()
        .get();
  }

  // What came out.

  static class Results {
    long count; // keys where these count, else records
    long sum = -1; // of the last counts; -1: there are none
  }

  Results results(String topic) throws Exception {
    boolean counts = List.of("wordcount", "count", "window", "window-repartition", "session").contains(workload);
    boolean keyed = counts || ON_DISK.contains(workload);
    Results results = new Results();
    Map<ByteBuffer, byte[]> last = new HashMap<>();
    Properties config = new Properties();
    config.put(ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, brokers);
    config.put(ConsumerConfig.ISOLATION_LEVEL_CONFIG, "read_committed");
    config.put(ConsumerConfig.MAX_POLL_RECORDS_CONFIG, 10_000);
    var bytes = new ByteArrayDeserializer();
    try (var consumer = new KafkaConsumer<>(config, bytes, bytes)) {
      Map<TopicPartition, Long> ends = ends(List.of(topic));
      ends.values().removeIf(end -> end == 0);
      consumer.assign(ends.keySet());
      consumer.seekToBeginning(ends.keySet());
      while (!ends.isEmpty()) {
        for (ConsumerRecord<byte[], byte[]> r : consumer.poll(Duration.ofMillis(100))) {
          if (!keyed) {
            results.count++;
          } else if (r.value() == null) {
            last.remove(ByteBuffer.wrap(r.key()));
          } else {
            last.put(ByteBuffer.wrap(r.key()), counts ? r.value() : null);
          }
        }
        ends.entrySet().removeIf(e -> consumer.position(e.getKey()) >= e.getValue());
      }
    }
    if (keyed) {
      results.count = last.size();
    }
    if (counts) {
      results.sum = last.values().stream().mapToLong(v -> ByteBuffer.wrap(v).getLong()).sum();
    }
    return results;
  }

  /** Time on the wall and of this process's CPUs. */
  static class Clock {
    final OperatingSystemMXBean system = (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
    final long wallFrom = System.nanoTime();
    final long cpuFrom = system.getProcessCpuTime();
    double wall;
    double cpu;

    void stop() {
      wall = (System.nanoTime() - wallFrom) / 1e9;
      cpu = (system.getProcessCpuTime() - cpuFrom) / 1e9;
    }

    String json(Bench bench, Results results) throws Exception {
      long records = bench.records();
      long words = bench.workload.equals("wordcount") ? results.sum : 0;
      long units = Math.max(records, words);
      String checked = results.sum < 0 ? results.count + " results" : results.count + " keys add up to " + results.sum;
      return String.format(Locale.ROOT,
          "{\"workload\":\"%s\",\"records\":%d,\"words\":%d,\"wall_s\":%.4f,\"cpu_s\":%.4f,\"per_s\":%.1f,"
              + "\"per_cpu_s\":%.1f,\"peak_rss_mib\":%.1f,\"results\":%d,\"sum\":%d,\"checked\":\"%s\"}",
          bench.workload, records, words, wall, cpu, units / wall, units / cpu, peakMiB(), results.count, results.sum,
          checked);
    }

    static double peakMiB() throws Exception {
      for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
        if (line.startsWith("VmHWM:")) {
          return Long.parseLong(line.replaceAll("[^0-9]", "")) / 1024.0;
        }
      }
      return 0;
    }
  }
}
