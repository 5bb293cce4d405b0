package thalweg.oracle;

import com.fasterxml.jackson.databind.JsonNode;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.kstream.*;
import org.apache.kafka.streams.processor.LogAndSkipOnInvalidTimestamp;
import org.apache.kafka.streams.processor.TimestampExtractor;
import org.apache.kafka.streams.processor.UsePartitionTimeOnInvalidTimestamp;
import org.apache.kafka.streams.processor.api.FixedKeyProcessor;
import org.apache.kafka.streams.processor.api.FixedKeyProcessorSupplier;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorSupplier;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;

import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;

/** Builds the Kafka Streams topology that a scenario's nodes describe. Streams and tables are raw: keys are String or Windowed. */
@SuppressWarnings({"unchecked", "rawtypes"})
final class Build {
    /** What is needed to read a named store after the run. */
    static final class StoreInfo {
        final String kind;
        StoreInfo(String kind) {
            this.kind = kind;
        }
    }

    /** Receives what peek and foreach nodes see. */
    interface Peek {
        void see(String node, String key, String value);
    }

    private final StreamsBuilder builder = new StreamsBuilder();
    private final Map<String, Object> env = new HashMap<>();
    final Map<String, StoreInfo> stores = new LinkedHashMap<>();
    private final boolean cache;
    private final Peek peek;
    private JsonNode n;

    private Build(boolean cache, Peek peek) {
        this.cache = cache;
        this.peek = peek;
    }

    static Build of(JsonNode scenario, Peek peek) {
        Build b = new Build("on".equals(scenario.path("config").path("cache").asText("off")), peek);
        for (JsonNode node : scenario.get("nodes")) {
            b.n = node;
            b.add();
        }
        return b;
    }

    Topology topology(Properties props) {
        return builder.build(props);
    }

    /** How many sub-topologies (and so tasks) Kafka Streams would make of it. */
    int subtopologies() {
        return builder.build().describe().subtopologies().size();
    }

    /** Whether some processor's results depend on the stream time of its task. */
    static boolean readsTaskTime(JsonNode scenario) {
        for (JsonNode n : scenario.get("nodes")) {
            String p = n.path("proc").asText();
            if (p.equals("times") || p.startsWith("tick:stream") || p.startsWith("punct:stream")) {
                return true;
            }
        }
        return false;
    }

    private <T> T in(int i) {
        String ref = n.get("in").get(i).asText();
        Object o = env.get(ref);
        if (o == null) {
            throw new IllegalArgumentException(n.get("id").asText() + ": no node " + ref);
        }
        return (T) o;
    }

    private String s(String field) {
        JsonNode v = n.get(field);
        if (v == null || v.isNull()) {
            throw new IllegalArgumentException(n.get("id").asText() + ": needs " + field);
        }
        return v.asText();
    }

    private String opt(String field) {
        return n.hasNonNull(field) ? n.get(field).asText() : null;
    }

    private static Duration ms(JsonNode v) {
        return Duration.ofMillis(v.asLong());
    }

    /** A key as functions see it: windowed keys are rendered key@start/end. */
    static String ks(Object k) {
        if (k instanceof Windowed) {
            Windowed<?> w = (Windowed<?>) k;
            return w.key() + "@" + w.window().start() + "/" + w.window().end();
        }
        return (String) k;
    }

    private static String vs(Object v) {
        return (String) v;
    }

    private Materialized mat(String kind, org.apache.kafka.common.serialization.Serde valueSerde) {
        JsonNode st = n.get("store");
        Materialized m;
        if (st == null) {
            m = Materialized.with(null, valueSerde);
        } else {
            String name = st.get("name").asText();
            if (st.has("versionedMs")) {
                m = Materialized.as(Stores.persistentVersionedKeyValueStore(name, ms(st.get("versionedMs"))));
                kind = "versioned";
            } else {
                m = Materialized.as(name);
            }
            m = m.withValueSerde(valueSerde);
            if (st.has("retentionMs")) {
                m = m.withRetention(ms(st.get("retentionMs")));
            }
            stores.put(name, new StoreInfo(kind));
        }
        if (n.has("keepMs") && !n.path("store").has("retentionMs")) {
            m = m.withRetention(ms(n.get("keepMs")));
        }
        return cache ? m.withCachingEnabled() : m.withCachingDisabled();
    }

    private boolean hasStore() {
        return n.has("store");
    }

    private void put(Object o) {
        env.put(n.get("id").asText(), o);
    }

    private TimestampExtractor extractor() {
        String t = opt("timestamps");
        if (t == null || t.equals("record")) {
            return null;
        }
        switch (t) {
            case "logAndSkip": return new LogAndSkipOnInvalidTimestamp();
            case "partitionTime": return new UsePartitionTimeOnInvalidTimestamp();
            case "value": return (ConsumerRecord<Object, Object> r, long p) -> Fn.num((String) r.value());
            case "valueOrPartitionTime": return (ConsumerRecord<Object, Object> r, long p) -> {
                long x = Fn.num((String) r.value());
                return x >= 0 ? x : Math.max(p, 0);
            };
            default: throw new IllegalArgumentException("unknown timestamps: " + t);
        }
    }

    private Consumed consumed() {
        TimestampExtractor x = extractor();
        Consumed c = Consumed.with(Serdes.String(), Serdes.String());
        return x == null ? c : c.withTimestampExtractor(x);
    }

    private static KeyValue kv(Fn.KV f, Object k, Object v) {
        return f.apply(ks(k), vs(v));
    }

    private void add() {
        String op = s("op");
        switch (op) {
            case "stream": {
                List<String> topics = new ArrayList<>();
                n.get("topics").forEach(t -> topics.add(t.asText()));
                put(builder.stream(topics, consumed()));
                return;
            }
            case "table":
                put(hasStore() ? builder.table(s("topic"), consumed(), mat("kv", Serdes.String())) : builder.table(s("topic"), consumed()));
                return;
            case "globalTable":
                put(hasStore() ? builder.globalTable(s("topic"), consumed(), mat("kv", Serdes.String())) : builder.globalTable(s("topic"), consumed()));
                return;
            case "filter": case "filterNot": filter(op.equals("filterNot")); return;
            case "map": {
                Fn.KV f = Fn.kv(s("fn"));
                put(((KStream<Object, Object>) in(0)).map((k, v) -> f.apply(ks(k), vs(v))));
                return;
            }
            case "mapValues": mapValues(); return;
            case "flatMap": {
                Fn.FlatKV f = Fn.flatKV(s("fn"));
                put(((KStream<Object, Object>) in(0)).flatMap((k, v) -> (List) f.apply(ks(k), vs(v))));
                return;
            }
            case "flatMapValues": {
                Fn.FlatValue f = Fn.flatValue(s("fn"));
                put(((KStream<Object, Object>) in(0)).flatMapValues((k, v) -> f.apply(ks(k), vs(v))));
                return;
            }
            case "selectKey": {
                Fn.Key f = Fn.key(s("key"));
                put(((KStream<Object, Object>) in(0)).selectKey((k, v) -> f.apply(ks(k), vs(v))));
                return;
            }
            case "peek": {
                String id = s("id");
                put(((KStream<Object, Object>) in(0)).peek((k, v) -> peek.see(id, ks(k), vs(v))));
                return;
            }
            case "foreach": {
                String id = s("id");
                ((KStream<Object, Object>) in(0)).foreach((k, v) -> peek.see(id, ks(k), vs(v)));
                return;
            }
            case "merge": {
                KStream m = in(0);
                for (int i = 1; i < n.get("in").size(); i++) {
                    m = m.merge(in(i));
                }
                put(m);
                return;
            }
            case "split": split(); return;
            case "repartition": {
                KStream st = in(0);
                Repartitioned r = opt("name") == null ? Repartitioned.with(Serdes.String(), Serdes.String())
                    : Repartitioned.with(Serdes.String(), Serdes.String()).withName(s("name"));
                put(st.repartition(r));
                return;
            }
            case "toTable":
                put(((KStream) in(0)).toTable(mat("kv", Serdes.String())));
                return;
            case "toStream": {
                KTable<Object, Object> t = in(0);
                Fn.Key f = opt("key") == null ? null : Fn.key(s("key"));
                boolean windowed = n.path("windowed").asBoolean(false);
                put(f != null ? t.toStream((k, v) -> f.apply(ks(k), vs(v)))
                    : windowed ? t.toStream((k, v) -> ks(k)) : t.toStream());
                return;
            }
            case "process": process(); return;
            case "processValues": processValues(); return;
            case "transformValues": {
                Fn.Value f = Fn.value(s("fn"));
                ValueTransformerWithKeySupplier sup = () -> new ValueTransformerWithKey<Object, Object, Object>() {
                    public void init(org.apache.kafka.streams.processor.ProcessorContext c) { }
                    public Object transform(Object k, Object v) {
                        return f.apply(ks(k), vs(v));
                    }
                    public void close() { }
                };
                KTable t = in(0);
                put(hasStore() ? t.transformValues(sup, mat("kv", Serdes.String())) : t.transformValues(sup));
                return;
            }
            case "groupByKey": {
                KStream st = in(0);
                Grouped g = Grouped.with(Serdes.String(), Serdes.String());
                put(st.groupByKey(opt("name") == null ? g : g.withName(s("name"))));
                return;
            }
            case "groupBy": {
                KStream st = in(0);
                Fn.Key f = Fn.key(s("key"));
                Grouped g = Grouped.with(Serdes.String(), Serdes.String());
                KeyValueMapper m = (k, v) -> f.apply(ks(k), vs(v));
                put(st.groupBy(m, opt("name") == null ? g : g.withName(s("name"))));
                return;
            }
            case "groupTable": {
                KTable t = in(0);
                Fn.KV f = Fn.kv(s("fn"));
                Grouped g = Grouped.with(Serdes.String(), Serdes.String());
                KeyValueMapper m = (k, v) -> f.apply(ks(k), vs(v));
                put(t.groupBy(m, opt("name") == null ? g : g.withName(s("name"))));
                return;
            }
            case "count": case "reduce": case "aggregate": aggregate(op); return;
            case "cogroup": cogroup(); return;
            case "suppress": suppress(); return;
            case "joinStreams": joinStreams(); return;
            case "joinStreamTable": {
                KStream st = in(0);
                KTable t = in(1);
                ValueJoinerWithKey j = joiner();
                Joined jd = Joined.with(Serdes.String(), Serdes.String(), Serdes.String());
                if (n.has("grace")) {
                    jd = jd.withGracePeriod(ms(n.get("grace")));
                }
                put(s("type").equals("left") ? st.leftJoin(t, j, jd) : st.join(t, j, jd));
                return;
            }
            case "joinGlobal": {
                KStream st = in(0);
                GlobalKTable g = in(1);
                Fn.Key f = Fn.key(s("key"));
                Fn.Join j = Fn.join(s("joiner"));
                KeyValueMapper m = (k, v) -> f.apply(ks(k), vs(v));
                ValueJoiner vj = (l, r) -> j.apply(null, vs(l), vs(r));
                put(s("type").equals("left") ? st.leftJoin(g, m, vj) : st.join(g, m, vj));
                return;
            }
            case "joinTables": joinTables(); return;
            case "fkJoin": {
                KTable l = in(0);
                KTable r = in(1);
                Fn.Key f = Fn.key(s("fk"));
                Fn.Join j = Fn.join(s("joiner"));
                java.util.function.BiFunction fk = (k, v) -> f.apply(ks(k), vs(v));
                ValueJoiner vj = (a, b) -> j.apply(null, vs(a), vs(b));
                Materialized m = mat("kv", Serdes.String());
                put(s("type").equals("left") ? l.leftJoin(r, fk, vj, m) : l.join(r, fk, vj, m));
                return;
            }
            case "to": {
                KStream st = in(0);
                Produced p = Produced.with(Serdes.String(), Serdes.String());
                if (opt("topicBy") != null) {
                    Fn.Key f = Fn.key(s("topicBy"));
                    org.apache.kafka.streams.processor.TopicNameExtractor x = (k, v, c) -> Fn.str(f.apply(ks(k), vs(v)));
                    st.to(x, p);
                } else {
                    st.to(s("topic"), p);
                }
                return;
            }
            default: throw new IllegalArgumentException("unknown op: " + op);
        }
    }

    private ValueJoinerWithKey joiner() {
        Fn.Join j = Fn.join(s("joiner"));
        return (k, l, r) -> j.apply(ks(k), vs(l), vs(r));
    }

    private void filter(boolean not) {
        Fn.Pred f = Fn.pred(s("pred"));
        Predicate<Object, Object> p = (k, v) -> f.test(ks(k), vs(v));
        Object x = in(0);
        if (x instanceof KStream) {
            put(not ? ((KStream) x).filterNot(p) : ((KStream) x).filter(p));
        } else if (hasStore()) {
            Materialized m = mat("kv", Serdes.String());
            put(not ? ((KTable) x).filterNot(p, m) : ((KTable) x).filter(p, m));
        } else {
            put(not ? ((KTable) x).filterNot(p) : ((KTable) x).filter(p));
        }
    }

    private void mapValues() {
        Fn.Value f = Fn.value(s("fn"));
        ValueMapperWithKey<Object, Object, Object> m = (k, v) -> f.apply(ks(k), vs(v));
        Object x = in(0);
        if (x instanceof KStream) {
            put(((KStream) x).mapValues(m));
        } else if (hasStore()) {
            put(((KTable) x).mapValues(m, mat("kv", Serdes.String())));
        } else {
            put(((KTable) x).mapValues(m));
        }
    }

    private void split() {
        KStream st = in(0);
        BranchedKStream b = st.split(Named.as("split-" + s("id") + "-"));
        List<String> ids = new ArrayList<>();
        for (JsonNode br : n.get("branches")) {
            Fn.Pred f = Fn.pred(br.get("pred").asText());
            String id = br.get("id").asText();
            ids.add(id);
            b = b.branch((k, v) -> f.test(ks(k), vs(v)), Branched.as(id));
        }
        Map<String, KStream> out;
        if (opt("default") != null) {
            ids.add(s("default"));
            out = b.defaultBranch(Branched.as(s("default")));
        } else {
            out = b.noDefaultBranch();
        }
        for (String id : ids) {
            env.put(id, out.get("split-" + s("id") + "-" + id));
        }
    }

    private void process() {
        KStream st = in(0);
        String p = s("proc");
        String kind = Procs.storeKind(p);
        String own = kind == null ? null : n.get("store").get("name").asText();
        Duration history = "versioned".equals(kind) ? ms(n.get("store").get("versionedMs")) : null;
        String reads = opt("reads");
        String store = own != null ? own : reads;
        ProcessorSupplier sup = new ProcessorSupplier() {
            @Override
            public Processor get() {
                return Procs.processor(p, store);
            }

            @Override
            public Set<StoreBuilder<?>> stores() {
                return own == null ? null : Set.of(ownStore(kind, own, history));
            }
        };
        if (own != null) {
            stores.put(own, new StoreInfo(kind.equals("versioned") ? "versioned" : "plain"));
        }
        put(reads != null ? st.process(sup, reads) : st.process(sup));
    }

    private static StoreBuilder<?> ownStore(String kind, String name, Duration history) {
        if (kind.equals("versioned")) {
            return Stores.versionedKeyValueStoreBuilder(Stores.persistentVersionedKeyValueStore(name, history), Serdes.String(), Serdes.String());
        }
        return Stores.keyValueStoreBuilder(Stores.inMemoryKeyValueStore(name), Serdes.String(), Serdes.String()).withCachingDisabled();
    }

    private void processValues() {
        KStream st = in(0);
        String p = s("proc");
        String kind = Procs.storeKind(p);
        String own = kind == null ? null : n.get("store").get("name").asText();
        Duration history = "versioned".equals(kind) ? ms(n.get("store").get("versionedMs")) : null;
        String reads = opt("reads");
        String store = own != null ? own : reads;
        FixedKeyProcessorSupplier sup = new FixedKeyProcessorSupplier() {
            @Override
            public FixedKeyProcessor get() {
                return Procs.fixed(p, store);
            }

            @Override
            public Set<StoreBuilder<?>> stores() {
                return own == null ? null : Set.of(ownStore(kind, own, history));
            }
        };
        if (own != null) {
            stores.put(own, new StoreInfo("plain"));
        }
        put(reads != null ? st.processValues(sup, reads) : st.processValues(sup));
    }

    private static TimeWindows timeWindows(JsonNode w) {
        TimeWindows t = TimeWindows.ofSizeAndGrace(ms(w.get("size")), ms(w.get("grace")));
        return w.get("type").asText().equals("hopping") ? t.advanceBy(ms(w.get("advance"))) : t;
    }

    private static SlidingWindows sliding(JsonNode w) {
        return SlidingWindows.ofTimeDifferenceAndGrace(ms(w.get("diff")), ms(w.get("grace")));
    }

    private static SessionWindows session(JsonNode w) {
        return SessionWindows.ofInactivityGapAndGrace(ms(w.get("gap")), ms(w.get("grace")));
    }

    private EmitStrategy emit() {
        return "close".equals(opt("emit")) ? EmitStrategy.onWindowClose() : EmitStrategy.onWindowUpdate();
    }

    /** Counts are longs in their stores; downstream they are decimal strings. */
    private void putCount(KTable t) {
        ValueMapper m = v -> v == null ? null : v.toString();
        put(t.mapValues(m));
    }

    private void aggregate(String op) {
        Object g = in(0);
        JsonNode w = n.get("window");
        if (g instanceof KGroupedTable) {
            KGroupedTable gt = (KGroupedTable) g;
            switch (op) {
                case "count": putCount(gt.count(mat("count", Serdes.Long()))); return;
                case "reduce": put(gt.reduce(reducer("adder"), reducer("subtractor"), mat("kv", Serdes.String()))); return;
                default:
                    put(gt.aggregate(init(), aggregator("adder"), aggregator("subtractor"), mat("kv", Serdes.String())));
                    return;
            }
        }
        KGroupedStream gs = (KGroupedStream) g;
        if (w == null) {
            switch (op) {
                case "count": putCount(gs.count(mat("count", Serdes.Long()))); return;
                case "reduce": put(gs.reduce(reducer("adder"), mat("kv", Serdes.String()))); return;
                default: put(gs.aggregate(init(), aggregator("adder"), mat("kv", Serdes.String()))); return;
            }
        }
        if (w.get("type").asText().equals("session")) {
            SessionWindowedKStream ws = gs.windowedBy(session(w)).emitStrategy(emit());
            switch (op) {
                case "count": putCount(ws.count(mat("sessioncount", Serdes.Long()))); return;
                case "reduce": put(ws.reduce(reducer("adder"), mat("session", Serdes.String()))); return;
                default: put(ws.aggregate(init(), aggregator("adder"), merger(), mat("session", Serdes.String()))); return;
            }
        }
        TimeWindowedKStream tw;
        switch (w.get("type").asText()) {
            case "tumbling": case "hopping": tw = gs.windowedBy(timeWindows(w)); break;
            case "sliding": tw = gs.windowedBy(sliding(w)); break;
            case "unlimited": tw = gs.windowedBy(UnlimitedWindows.of().startOn(java.time.Instant.ofEpochMilli(w.get("start").asLong()))); break;
            default: throw new IllegalArgumentException("unknown window: " + w);
        }
        tw = tw.emitStrategy(emit());
        switch (op) {
            case "count": putCount(tw.count(mat("windowcount", Serdes.Long()))); return;
            case "reduce": put(tw.reduce(reducer("adder"), mat("window", Serdes.String()))); return;
            default: put(tw.aggregate(init(), aggregator("adder"), mat("window", Serdes.String())));
        }
    }

    private Initializer init() {
        String v = Fn.init(s("init"));
        return () -> v;
    }

    private Aggregator aggregator(String field) {
        Fn.Agg f = Fn.agg(s(field));
        return (k, v, a) -> f.apply(ks(k), vs(v), vs(a));
    }

    private Reducer reducer(String field) {
        Fn.Reduce f = Fn.reduce(s(field));
        return (a, b) -> f.apply(vs(a), vs(b));
    }

    private Merger merger() {
        Fn.Reduce f = Fn.reduce(s("merger"));
        return (k, a, b) -> f.apply(vs(a), vs(b));
    }

    private void cogroup() {
        // Without an explicit key serde a windowed cogroup has none at all, and a suppress after it fails (surprise S-14).
        CogroupedKStream c = null;
        for (int i = 0; i < n.get("in").size(); i++) {
            KGroupedStream g = in(i);
            Fn.Agg f = Fn.agg(n.get("adders").get(i).asText());
            Aggregator a = (k, v, agg) -> f.apply(ks(k), vs(v), vs(agg));
            c = i == 0 ? g.cogroup(a) : c.cogroup(g, a);
        }
        JsonNode w = n.get("window");
        if (w == null) {
            put(c.aggregate(init(), mat("kv", Serdes.String()).withKeySerde(Serdes.String())));
            return;
        }
        switch (w.get("type").asText()) {
            case "tumbling": case "hopping": put(c.windowedBy(timeWindows(w)).aggregate(init(), mat("window", Serdes.String()).withKeySerde(Serdes.String()))); return;
            case "sliding": put(c.windowedBy(sliding(w)).aggregate(init(), mat("window", Serdes.String()).withKeySerde(Serdes.String()))); return;
            case "session": put(c.windowedBy(session(w)).aggregate(init(), merger(), mat("session", Serdes.String()).withKeySerde(Serdes.String()))); return;
            default: throw new IllegalArgumentException("unknown window: " + w);
        }
    }

    private void suppress() {
        KTable t = in(0);
        if (s("until").equals("windowClose")) {
            put(t.suppress(Suppressed.untilWindowCloses(Suppressed.BufferConfig.unbounded())));
            return;
        }
        Suppressed.BufferConfig c = n.has("maxRecords")
            ? Suppressed.BufferConfig.maxRecords(n.get("maxRecords").asLong()).emitEarlyWhenFull()
            : Suppressed.BufferConfig.unbounded();
        put(t.suppress(Suppressed.untilTimeLimit(ms(n.get("ms")), c)));
    }

    private void joinStreams() {
        KStream l = in(0);
        KStream r = in(1);
        Duration before = ms(n.get("before"));
        Duration after = ms(n.get("after"));
        Duration both = before.compareTo(after) > 0 ? before : after;
        JoinWindows w = JoinWindows.ofTimeDifferenceAndGrace(both.isNegative() ? Duration.ZERO : both, ms(n.get("grace")));
        // Each setter checks that before + after stays at least zero, so the larger side is set first.
        w = before.compareTo(after) > 0 ? w.before(before).after(after) : w.after(after).before(before);
        ValueJoinerWithKey j = joiner();
        StreamJoined sj = StreamJoined.with(Serdes.String(), Serdes.String(), Serdes.String());
        switch (s("type")) {
            case "inner": put(l.join(r, j, w, sj)); return;
            case "left": put(l.leftJoin(r, j, w, sj)); return;
            default: put(l.outerJoin(r, j, w, sj));
        }
    }

    private void joinTables() {
        KTable l = in(0);
        KTable r = in(1);
        Fn.Join f = Fn.join(s("joiner"));
        ValueJoiner j = (a, b) -> f.apply(null, vs(a), vs(b));
        String type = s("type");
        if (hasStore()) {
            Materialized m = mat("kv", Serdes.String());
            put(type.equals("inner") ? l.join(r, j, m) : type.equals("left") ? l.leftJoin(r, j, m) : l.outerJoin(r, j, m));
        } else {
            put(type.equals("inner") ? l.join(r, j) : type.equals("left") ? l.leftJoin(r, j) : l.outerJoin(r, j));
        }
    }
}
