package thalweg.oracle;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.zip.ZipFile;

/**
 * Takes known defects out of Kafka Streams: writes changed sources of some of its classes, which go before the library in
 * the class path. Each text that is replaced must occur once, so that another version of the library is noticed.
 */
final class Fix {
    private static final String KSTREAM = "org/apache/kafka/streams/kstream/internals/";

    private final ZipFile sources;
    private final Path out;

    private Fix(ZipFile sources, Path out) {
        this.sources = sources;
        this.out = out;
    }

    static void all(Path sourcesJar, Path out) throws IOException {
        try (ZipFile sources = new ZipFile(sourcesJar.toFile())) {
            Fix fix = new Fix(sources, out);
            fix.initialOld();
            fix.slidingOld();
            fix.emptyForeign();
            fix.tiedPunctuations();
            fix.graceNullKey();
            fix.cachedDeletion();
        }
    }

    /** An aggregate that was not there has no old row: the initializer's value is none. */
    private void initialOld() throws IOException {
        change(KSTREAM + "KStreamAggregate.java",
            "sendOldValues ? oldAgg : null", "sendOldValues && oldAggAndTimestamp != null ? oldAgg : null");
        change(KSTREAM + "KStreamWindowAggregate.java",
            "entry.getValue(), oldAgg, newAgg", "entry.getValue(), oldAggTimestampHeaders == null ? null : oldAgg, newAgg");
    }

    /** The old row of a sliding window is the one that its store has, not what the new one was made of. */
    private void slidingOld() throws IOException {
        change(KSTREAM + "KStreamSlidingWindowAggregate.java",
            "final long newTimestamp = oldAgg == null",
            "final VAgg was = getValueOrNull(windowStore.fetch(record.key(), windowStart)); final long newTimestamp = oldAgg == null",
            "maybeForwardUpdate(record, window, oldAgg, newAgg", "maybeForwardUpdate(record, window, was, newAgg",
            "final TimeWindow window = new TimeWindow(inputRecordTimestamp + 1, inputRecordTimestamp + 1 + windows.timeDifferenceMs());",
            "final TimeWindow window = new TimeWindow(inputRecordTimestamp + 1, inputRecordTimestamp + 1 + windows.timeDifferenceMs());"
                + " final VAgg was = getValueOrNull(windowStore.fetch(record.key(), window.start()));",
            "maybeForwardUpdate(record, window, null, rightWinAgg.value()",
            "maybeForwardUpdate(record, window, was, rightWinAgg.value()");
    }

    /** A row of no bytes is a row: a bit of the version says so in a response. */
    private void emptyForeign() throws IOException {
        change(KSTREAM + "foreignkeyjoin/SubscriptionResponseWrapperSerde.java",
            "return buf.array();",
            "if (serializedData != null && serializedDataLength == 0) buf.put(0, (byte) (buf.get(0) | 0x40)); return buf.array();",
            "0x7F & versionAndIsHashNull", "0x3F & versionAndIsHashNull",
            "} else {\n                value = null;",
            "} else if ((0x40 & versionAndIsHashNull) != 0) {\n                value = deserializer.deserialize(topic, headers, new byte[0]);"
                + "\n            } else {\n                value = null;");
    }

    /** Of two punctuations that are due at once the upstream node's is first: its name has the lower number. */
    private void tiedPunctuations() throws IOException {
        change("org/apache/kafka/streams/processor/internals/Stamped.java",
            "            return 1;\n        }\n        return 0;",
            "            return 1;\n        }\n        return number(value).compareTo(number(other.value));",
            "    @Override\n    public int compareTo",
            "    private static String number(final Object o) {\n"
                + "        final String name = o instanceof ProcessorNode ? ((ProcessorNode<?, ?, ?, ?>) o).name() : \"\";\n"
                + "        return name.substring(Math.max(0, name.length() - 10));\n    }\n\n"
                + "    @Override\n    public int compareTo");
    }

    /** A left join with grace takes a null key, as one without does. */
    private void graceNullKey() throws IOException {
        change(KSTREAM + "KStreamKTableJoinProcessor.java", "if (!useBuffer) {", "if (!useBuffer || record.key() == null) {");
    }

    /** A cached aggregate that a late record deletes is deleted at the time of its row, as one without a cache. */
    private void cachedDeletion() throws IOException {
        for (String file : new String[] {"KStreamAggregate.java", "KStreamReduce.java"}) {
            change(KSTREAM + file,
                "final long putReturnCode = store.put(",
                "final org.apache.kafka.streams.processor.internals.InternalProcessorContext<?, ?> inner ="
                    + " (org.apache.kafka.streams.processor.internals.InternalProcessorContext<?, ?>) context();"
                    + " final org.apache.kafka.streams.processor.internals.ProcessorRecordContext mine = inner.recordContext();"
                    + " if (newAgg == null && mine != null) { inner.setRecordContext("
                    + "new org.apache.kafka.streams.processor.internals.ProcessorRecordContext(newTimestamp, mine.offset(),"
                    + " mine.partition(), mine.topic(), mine.headers())); }"
                    + " final long putReturnCode = store.put(",
                "// if not put to store", "inner.setRecordContext(mine); // if not put to store");
        }
    }

    private void change(String file, String... pairs) throws IOException {
        Path to = out.resolve(file);
        String text = Files.exists(to) ? Files.readString(to)
            : new String(sources.getInputStream(sources.getEntry(file)).readAllBytes(), StandardCharsets.UTF_8);
        for (int i = 0; i < pairs.length; i += 2) {
            int at = text.indexOf(pairs[i]);
            if (at < 0 || text.indexOf(pairs[i], at + 1) >= 0) {
                throw new IllegalStateException(file + ": not exactly once: " + pairs[i]);
            }
            text = text.substring(0, at) + pairs[i + 1] + text.substring(at + pairs[i].length());
        }
        Files.createDirectories(to.getParent());
        Files.writeString(to, text);
    }
}
