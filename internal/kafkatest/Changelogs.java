import java.nio.file.Files;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ListOffsetsResult.ListOffsetsResultInfo;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.CloseOptions;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StoreQueryParameters;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.EmitStrategy;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.Joined;
import org.apache.kafka.streams.kstream.KGroupedStream;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.SessionWindows;
import org.apache.kafka.streams.kstream.SlidingWindows;
import org.apache.kafka.streams.kstream.StreamJoined;
import org.apache.kafka.streams.kstream.Suppressed;
import org.apache.kafka.streams.kstream.Suppressed.BufferConfig;
import org.apache.kafka.streams.kstream.TableJoined;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.query.MultiVersionedKeyQuery;
import org.apache.kafka.streams.query.StateQueryRequest;
import org.apache.kafka.streams.state.QueryableStoreTypes;
import org.apache.kafka.streams.state.SessionStore;
import org.apache.kafka.streams.state.Stores;
import org.apache.kafka.streams.state.WindowStore;

/**
 * One application with each kind of store that Kafka Streams has a changelog for. It processes what its input topic
 * holds, tells what is in its stores, and ends; its changelogs stay with the broker. Each application that is named
 * runs by itself, all of them at once.
 *
 * <pre>Changelogs HOST:PORT APPLICATION…</pre>
 *
 * The topic "APPLICATION-in" is read, "APPLICATION-out-…" are written. A row of a store is printed as "row APPLICATION
 * STORE ROW". changelog_app_test.go has the same topology; keep them equal.
 */
public class Changelogs {
  static final Serde<String> STRING = Serdes.String();
  static final String[] KEYS = {"a", "b", "c", "d", "e", "f"};

  public static void main(String[] args) throws Exception {
    List<CompletableFuture<Void>> runs = new ArrayList<>();
    for (int i = 1; i < args.length; i++) {
      String name = args[i];
      runs.add(CompletableFuture.runAsync(() -> {
        try {
          new Changelogs(args[0], name).run();
        } catch (Exception e) {
          throw new RuntimeException(e);
        }
      }));
    }
    CompletableFuture.allOf(runs.toArray(new CompletableFuture<?>[0])).get();
  }

  final String brokers;
  final String name;

  Changelogs(String brokers, String name) {
    this.brokers = brokers;
    this.name = name;
  }

  void run() throws Exception {
    Properties config = new Properties();
    config.put(StreamsConfig.APPLICATION_ID_CONFIG, name);
    config.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, brokers);
    config.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
    config.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100);
    config.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 0); // each change is written
    config.put(StreamsConfig.STATE_DIR_CONFIG, Files.createTempDirectory("changelogs").toString());
    config.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
    config.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
    config.put(StreamsConfig.InternalConfig.EMIT_INTERVAL_MS_KSTREAMS_OUTER_JOIN_SPURIOUS_RESULTS_FIX, 0L);
    config.put(StreamsConfig.InternalConfig.EMIT_INTERVAL_MS_KSTREAMS_WINDOWED_AGGREGATION, 0L);
    config.put("auto.offset.reset", "earliest");
    StreamsBuilder builder = new StreamsBuilder();
    build(builder);
    try (Admin admin = Admin.create(Map.of("bootstrap.servers", brokers))) {
      KafkaStreams app = new KafkaStreams(builder.build(), config);
      app.start();
      await(admin, app);
      rows(app);
      app.close(CloseOptions.timeout(Duration.ofSeconds(20))
          .withGroupMembershipOperation(CloseOptions.GroupMembershipOperation.LEAVE_GROUP));
    }
  }

  void build(StreamsBuilder builder) {
    KStream<String, String> in = builder.stream(name + "-in");
    KGroupedStream<String, String> grouped = in.groupByKey(Grouped.with(STRING, STRING));

    // Rows by key.
    to("counts", grouped.count(Materialized.as("counts")).toStream().mapValues(n -> "" + n));
    to("joined-up", grouped.reduce((a, b) -> a + "+" + b, Materialized.as("joined-up")).toStream());
    KTable<String, String> rows = in.toTable(Materialized.as("rows"));
    to("rows", rows.toStream());
    to("limited", rows.suppress(Suppressed.<String>untilTimeLimit(Duration.ofMillis(700), BufferConfig.unbounded())
        .withName("limited")).toStream());

    // Rows by key and window.
    TimeWindows tumbling = TimeWindows.ofSizeAndGrace(Duration.ofMillis(1000), Duration.ofMillis(200));
    KTable<Windowed<String>, Long> counts = grouped.windowedBy(tumbling).count(windowed("tumbling"));
    windows("tumbling", counts);
    windows("final", counts.suppress(
        Suppressed.untilWindowCloses(BufferConfig.unbounded()).withName("final")));
    windows("hopping", grouped.windowedBy(tumbling.advanceBy(Duration.ofMillis(500))).count(windowed("hopping")));
    windows("sliding", grouped.windowedBy(SlidingWindows.ofTimeDifferenceAndGrace(Duration.ofMillis(400),
        Duration.ofMillis(200))).count(windowed("sliding")));
    windows("closing", grouped.windowedBy(tumbling).emitStrategy(EmitStrategy.onWindowClose())
        .count(windowed("closing")));
    SessionWindows gap = SessionWindows.ofInactivityGapAndGrace(Duration.ofMillis(300), Duration.ofMillis(100));
    KTable<Windowed<String>, Long> sessions = grouped.windowedBy(gap).count(sessioned("sessions"));
    windows("sessions", sessions);
    windows("final-sessions", sessions.suppress(
        Suppressed.untilWindowCloses(BufferConfig.unbounded()).withName("final-sessions")));
    windows("closing-sessions", grouped.windowedBy(gap).emitStrategy(EmitStrategy.onWindowClose())
        .count(sessioned("closing-sessions")));

    // History.
    KTable<String, String> versions = in.toTable(
        Materialized.<String, String>as(Stores.persistentVersionedKeyValueStore("versions", Duration.ofSeconds(10)))
            .withKeySerde(STRING).withValueSerde(STRING));
    to("as-of", in.join(versions, (a, b) -> a + "/" + b));
    to("waiting", in.join(versions, (a, b) -> a + "/" + b,
        Joined.<String, String, String>as("waiting").withGracePeriod(Duration.ofMillis(300))));

    // Joins of streams.
    KStream<String, String> left = in.filter((k, v) -> v != null && v.startsWith("l"));
    KStream<String, String> right = in.filter((k, v) -> v != null && v.startsWith("r"));
    JoinWindows near = JoinWindows.ofTimeDifferenceAndGrace(Duration.ofMillis(250), Duration.ofMillis(100));
    to("inner", left.join(right, (a, b) -> a + "/" + b, near, joined("inner")));
    to("left", left.leftJoin(right, (a, b) -> a + "/" + b, near, joined("left")));
    to("outer", left.outerJoin(right, (a, b) -> a + "/" + b, near, joined("outer")));

    // Foreign keys: a row names another by the last letter of its value.
    to("foreign", rows.<String, String, String>join(rows, v -> KEYS[v.charAt(v.length() - 1) % KEYS.length],
        (a, b) -> a + "/" + b, TableJoined.as("foreign")).toStream());
  }

  static Materialized<String, Long, WindowStore<Bytes, byte[]>> windowed(String store) {
    return Materialized.<String, Long, WindowStore<Bytes, byte[]>>as(store).withKeySerde(STRING);
  }

  static Materialized<String, Long, SessionStore<Bytes, byte[]>> sessioned(String store) {
    return Materialized.<String, Long, SessionStore<Bytes, byte[]>>as(store).withKeySerde(STRING);
  }

  static StreamJoined<String, String, String> joined(String store) {
    return StreamJoined.with(STRING, STRING, STRING).withStoreName(store);
  }

  void to(String topic, KStream<String, String> stream) {
    stream.to(name + "-out-" + topic, Produced.with(STRING, STRING));
  }

  void windows(String topic, KTable<Windowed<String>, Long> table) {
    to(topic, table.toStream((w, n) -> key(w)).mapValues(n -> n == null ? null : "" + n));
  }

  static String key(Windowed<String> w) {
    return w.key() + "[" + w.window().start() + "/" + w.window().end() + "]";
  }

  /** Waits until everything is processed: the application's group has read all topics to their ends. */
  void await(Admin admin, KafkaStreams app) throws Exception {
    long until = System.nanoTime() + Duration.ofSeconds(60).toNanos();
    for (int calm = 0; calm < 3; Thread.sleep(200)) {
      if (System.nanoTime() > until || app.state() == KafkaStreams.State.ERROR) {
        System.out.println("FAILED: " + name + " is " + app.state());
        System.exit(1);
      }
      Map<TopicPartition, OffsetAndMetadata> at =
          admin.listConsumerGroupOffsets(name).partitionsToOffsetAndMetadata().get();
      Map<TopicPartition, ListOffsetsResultInfo> ends = admin.listOffsets(admin.listTopics().names().get().stream()
          .filter(t -> t.equals(name + "-in") || t.startsWith(name + "-") && t.endsWith("-topic"))
          .collect(Collectors.toMap(t -> new TopicPartition(t, 0), t -> OffsetSpec.latest()))).all().get();
      boolean done = ends.entrySet().stream().allMatch(e -> e.getValue().offset() == 0
          || at.get(e.getKey()) != null && at.get(e.getKey()).offset() >= e.getValue().offset());
      calm = done ? calm + 1 : 0;
    }
  }

  /** Tells what is in the stores that can be asked. */
  void rows(KafkaStreams app) {
    for (String store : List.of("counts", "joined-up", "rows")) {
      app.store(StoreQueryParameters.fromNameAndType(store, QueryableStoreTypes.timestampedKeyValueStore())).all()
          .forEachRemaining(e -> row(store, e.key + "=" + e.value.value() + "@" + e.value.timestamp()));
    }
    for (String store : List.of("tumbling", "hopping", "sliding", "closing")) {
      app.store(StoreQueryParameters.fromNameAndType(store, QueryableStoreTypes.timestampedWindowStore())).all()
          .forEachRemaining(e -> row(store, e.key.key() + "[" + e.key.window().start() + "]=" + e.value.value() + "@"
              + e.value.timestamp()));
    }
    for (String store : List.of("inner-this-join-store", "inner-other-join-store", "left-this-join-store",
        "left-outer-other-join-store", "outer-outer-this-join-store", "outer-outer-other-join-store")) {
      app.store(StoreQueryParameters.fromNameAndType(store, QueryableStoreTypes.windowStore())).all()
          .forEachRemaining(e -> row(store, e.key.key() + "[" + e.key.window().start() + "]=" + e.value));
    }
    for (String store : List.of("sessions", "closing-sessions")) {
      var sessions = app.store(StoreQueryParameters.fromNameAndType(store, QueryableStoreTypes.sessionStore()));
      for (String key : KEYS) {
        sessions.fetch(key).forEachRemaining(e -> row(store, key((Windowed<String>) (Windowed<?>) e.key) + "=" + e.value));
      }
    }
    for (String key : KEYS) {
      app.query(StateQueryRequest.inStore("versions")
              .withQuery(MultiVersionedKeyQuery.<String, String>withKey(key).withAscendingTimestamps()))
          .getOnlyPartitionResult().getResult()
          .forEachRemaining(v -> row("versions", key + "=" + v.value() + "@" + v.timestamp()));
    }
  }

  synchronized void row(String store, String row) {
    System.out.println("row " + name + " " + store + " " + row);
  }
}
