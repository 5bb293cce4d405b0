package thalweg.oracle;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;

import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStreamWriter;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.zip.GZIPInputStream;

/** oracle compile | generate | run | check | histogram. */
public final class Main {
    private Main() { }

    public static void main(String[] args) throws IOException {
        System.exit(dispatch(args));
    }

    private static int dispatch(String[] args) throws IOException {
        if (args.length == 0) {
            return usage();
        }
        switch (args[0]) {
            case "compile":
                write(Compact.compile(Files.readAllLines(Path.of(args[1]))));
                return 0;
            case "generate":
                return generate(args);
            case "run":
                return run(args);
            case "check":
                return check(args);
            case "second":
                return second(args);
            case "fix":
                Fix.all(Path.of(args[1]), Path.of(args[2]));
                return 0;
            case "histogram":
                Histogram.print(read(args[1]), System.out);
                return 0;
            default:
                return usage();
        }
    }

    private static int usage() {
        System.err.println("oracle compile hand.txt            the short form to JSON Lines, without expectations");
        System.err.println("oracle generate --seed N --count M [--prefix P] [--style dense]   random scenarios, without expectations");
        System.err.println("oracle run in.jsonl [rejects.jsonl]   fill in the expectations (JSON Lines on stdout)");
        System.err.println("oracle check in.jsonl              compare expectations with what Kafka Streams does; exit 1 on a difference");
        System.err.println("oracle second in.jsonl             id and results of a Kafka Streams without known defects, all windows kept for a day");
        System.err.println("oracle histogram in.jsonl          how often each op and feature occurs");
        return 2;
    }

    static String option(String[] args, String name, String other) {
        for (int i = 1; i < args.length - 1; i++) {
            if (args[i].equals(name)) {
                return args[i + 1];
            }
        }
        return other;
    }

    static List<ObjectNode> read(String file) throws IOException {
        List<ObjectNode> out = new ArrayList<>();
        try (BufferedReader r = file.endsWith(".gz")
            ? new BufferedReader(new InputStreamReader(new GZIPInputStream(Files.newInputStream(Path.of(file))), StandardCharsets.UTF_8))
            : Files.newBufferedReader(Path.of(file))) {
            String l;
            while ((l = r.readLine()) != null) {
                if (!l.isBlank()) {
                    out.add((ObjectNode) Runner.JSON.readTree(l));
                }
            }
        }
        return out;
    }

    private static void write(List<ObjectNode> all) throws IOException {
        PrintStream o = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        for (ObjectNode n : all) {
            o.println(Runner.JSON.writeValueAsString(n));
        }
        o.flush();
    }

    private static int generate(String[] args) throws IOException {
        long seed = Long.parseLong(option(args, "--seed", "1"));
        int count = Integer.parseInt(option(args, "--count", "10"));
        write(Gen.generate(seed, count, option(args, "--prefix", "r" + seed),
            option(args, "--style", "").equals("dense")));
        return 0;
    }

    private static int run(String[] args) throws IOException {
        List<ObjectNode> rejects = new ArrayList<>();
        int n = 0;
        try (BufferedWriter w = new BufferedWriter(new OutputStreamWriter(System.out, StandardCharsets.UTF_8))) {
            for (ObjectNode sc : read(args[1])) {
                Verdict v = Verdict.of(sc);
                if (v.reject == null) {
                    sc.set("expect", v.expect);
                    w.write(Runner.JSON.writeValueAsString(sc));
                    w.newLine();
                } else {
                    sc.put("rejected", v.reject);
                    rejects.add(sc);
                }
                if (++n % 100 == 0) {
                    w.flush();
                    System.err.println(n + " run, " + rejects.size() + " rejected");
                }
            }
        }
        if (args.length > 2) {
            List<String> lines = new ArrayList<>();
            for (ObjectNode r : rejects) {
                lines.add(Runner.JSON.writeValueAsString(r));
            }
            Files.write(Path.of(args[2]), lines);
        }
        for (ObjectNode r : rejects) {
            System.err.println("rejected " + r.get("id").asText() + ": " + r.get("rejected").asText());
        }
        return 0;
    }

    private static int second(String[] args) throws IOException {
        List<ObjectNode> all = new ArrayList<>();
        for (ObjectNode sc : read(args[1])) {
            keepADay(sc);
            ObjectNode o = Runner.JSON.createObjectNode();
            o.set("id", sc.get("id"));
            o.set("expect", Runner.run(sc, Mode.ROCKS));
            all.add(o);
        }
        write(all);
        return 0;
    }

    private static void keepADay(ObjectNode scenario) {
        for (JsonNode n : scenario.get("nodes")) {
            if (n.has("window") && !n.get("window").get("type").asText().equals("unlimited")) {
                ((ObjectNode) n).put("keepMs", 86_400_000L);
            }
        }
    }

    private static int check(String[] args) throws IOException {
        int same = 0;
        int different = 0;
        for (ObjectNode sc : read(args[1])) {
            Verdict v = Verdict.of(sc);
            JsonNode want = sc.get("expect");
            if (v.reject != null) {
                System.out.println("DIFFERENT " + sc.get("id").asText() + ": rejected: " + v.reject);
                different++;
            } else if (want == null || !want.equals(Runner.JSON.readTree(Runner.JSON.writeValueAsString(v.expect)))) {
                System.out.println("DIFFERENT " + sc.get("id").asText() + " (" + sc.get("title").asText() + "): "
                    + Diff.first("expect", want, v.expect));
                different++;
            } else {
                same++;
            }
        }
        System.out.println(same + " same, " + different + " different");
        return different == 0 ? 0 : 1;
    }
}
