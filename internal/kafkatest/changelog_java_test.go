//go:build java

package kafkatest

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"flag"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/broker"
	"thalweg/broker/brokertest"
	"thalweg/runtime"
	"thalweg/topology"
)

var (
	jars   = flag.String("jars", "../../.kafka/lib", "where Apache Kafka's jars are")
	update = flag.Bool("update", false, "write the changelogs of testdata anew")
)

const patience = 100 * time.Second

// One application does all of the input in Kafka Streams. Of two others each does one half in Kafka Streams and one
// here, with no state left but the changelogs: it makes no difference.
func TestApplicationsGoOnWhereTheOtherLeftOff(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	b := brokertest.New(t, brokertest.Configure(func(c *broker.Config) { c.Listener = listener }))
	client := brokertest.Client(t, b)
	halves := changelogInput()
	for _, name := range []string{"whole", javaFirst, "go-first"} {
		createTopics(ctx, t, client, name)
		produce(ctx, t, client, name, halves[0])
	}
	goFirst := start(ctx, t, b, "go-first")
	goFirst()
	produce(ctx, t, client, "whole", halves[1])
	produce(ctx, t, client, "go-first", halves[1])

	javaRows := runJava(ctx, t, listener.Addr().String(), "whole", javaFirst, "go-first")
	written := changelogs(ctx, t, client, javaFirst)
	whole := read(ctx, t, client, "whole")
	if *update {
		save(t, written, javaRows[javaFirst], sortedByTopic(whole))
	}
	requireSame(t, javaRows["whole"], javaRows["go-first"])
	goFirstWrote := read(ctx, t, client, "go-first")
	goFirstWrote["waiting"] = whole["waiting"] // Kafka Streams 4.3.1 does not find these rows again, not even its own
	requireSame(t, sortedByTopic(whole), sortedByTopic(goFirstWrote))

	// Views show windows for a while that the store has given up, as its changelog does.
	goOn := start(ctx, t, b, javaFirst, func(app *runtime.App) {
		require.Subset(t, storeRows(t, nil, app), seen(javaRows[javaFirst]))
		produce(ctx, t, client, javaFirst, halves[1])
	}, func(app *runtime.App) {
		require.Subset(t, storeRows(t, nil, app), seen(javaRows["whole"]))
	})
	goOn()
	requireSame(t, sortedByTopic(whole), sortedByTopic(read(ctx, t, client, javaFirst)))
}

// seen is the rows of stores that views can see.
func seen(rows []string) []string {
	return slices.DeleteFunc(slices.Clone(rows), func(r string) bool {
		store, _, _ := strings.Cut(r, " ")
		return store == "versions" || strings.HasSuffix(store, "-join-store")
	})
}

func createTopics(ctx context.Context, t testing.TB, client *kgo.Client, name string) {
	topics := []string{name + "-in"}
	for _, o := range outputs {
		topics = append(topics, name+"-out-"+o)
	}
	_, err := kadm.NewClient(client).CreateTopics(ctx, 1, 1, nil, topics...)
	require.NoError(t, err)
}

func produce(ctx context.Context, t testing.TB, client *kgo.Client, name string, events []event) {
	for _, e := range events {
		r := &kgo.Record{Topic: name + "-in", Key: []byte(e.Key), Timestamp: time.UnixMilli(e.Timestamp)}
		if !e.NullValue {
			r.Value = []byte(e.Value)
		}
		require.NoError(t, client.ProduceSync(ctx, r).FirstErr())
	}
}

// start runs the application here; what is returned waits until it has processed everything, and ends it. Each of the
// functions is called when everything that was there is processed.
func start(
	ctx context.Context, t testing.TB, b *broker.Broker, name string, between ...func(*runtime.App),
) (end func()) {
	app, err := runtime.New(changelogTopology(t, name), runtime.Config{
		ApplicationID: name, Broker: b,
		State:          runtime.StateConfig{Dir: t.TempDir(), CheckpointInterval: 50 * ms},
		CommitInterval: 50 * ms,
	})
	require.NoError(t, err)
	ran := make(chan error, 1)
	go func() { ran <- app.Run(ctx) }()
	t.Cleanup(func() {
		if t.Failed() {
			require.NoError(t, app.Close(context.Background()))
		}
	})
	return func() {
		for _, f := range between {
			require.NoError(t, app.WaitCaughtUp(ctx))
			require.NoError(t, app.Checkpoint(ctx))
			f(app)
		}
		require.NoError(t, app.WaitCaughtUp(ctx))
		require.NoError(t, app.Close(ctx))
		require.NoError(t, <-ran)
	}
}

// runJava runs the applications in Kafka Streams until they have processed everything, and returns the rows of each.
func runJava(ctx context.Context, t testing.TB, brokers string, names ...string) map[string][]string {
	lib, err := filepath.Abs(*jars)
	require.NoError(t, err)
	args := append([]string{"-cp", lib + "/*:" + filepath.Join(lib, "../conf"), "Changelogs.java", brokers}, names...)
	command := exec.CommandContext(ctx, "java", args...)
	command.Stderr = os.Stderr
	out, err := command.Output()
	require.NoError(t, err, "%s", out)
	rows := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		if words := strings.SplitN(strings.TrimSpace(line), " ", 3); words[0] == "row" {
			rows[words[1]] = append(rows[words[1]], words[2])
		} else {
			t.Log(strings.TrimSpace(line))
		}
	}
	for _, r := range rows {
		slices.Sort(r)
	}
	return rows
}

// read is what an application has written to its topics.
func read(ctx context.Context, t testing.TB, client *kgo.Client, name string) map[string][]string {
	topics := map[string][]string{}
	for _, o := range outputs {
		for _, r := range consume(ctx, t, client, name+"-out-"+o) {
			topics[o] = append(topics[o], outputLine(r.Key, r.Value, r.Timestamp.UnixMilli()))
		}
	}
	return topics
}

func changelogs(ctx context.Context, t testing.TB, client *kgo.Client, name string) (written []change) {
	for _, store := range changelogged {
		for _, r := range consume(ctx, t, client, name+"-"+store+"-changelog") {
			c := change{Changelog: store, Key: r.Key, Value: r.Value, Timestamp: r.Timestamp.UnixMilli()}
			for _, h := range r.Headers {
				c.Headers = append(c.Headers, topology.Header{Key: h.Key, Value: h.Value})
			}
			written = append(written, c)
		}
	}
	return written
}

// consume reads what is committed in a topic of one partition.
func consume(ctx context.Context, t testing.TB, client *kgo.Client, topic string) (records []*kgo.Record) {
	ends, err := kadm.NewClient(client).ListCommittedOffsets(ctx, topic)
	require.NoError(t, err)
	require.NoError(t, ends.Error())
	end, ok := ends.Lookup(topic, 0)
	require.True(t, ok, "topic %s", topic)
	if end.Offset == 0 {
		return nil
	}
	c, err := kgo.NewClient(append(client.Opts(), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}))...)
	require.NoError(t, err)
	defer c.Close()
	for next := int64(0); next < end.Offset; {
		fetches := c.PollFetches(ctx)
		require.NoError(t, fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			next = r.Offset + 1
			if !r.Attrs.IsControl() {
				records = append(records, r)
			}
		})
	}
	return records
}

// save writes what the tests without Java restore.
func save(t testing.TB, written []change, rows, results []string) {
	f, err := os.Create(changelogFile)
	require.NoError(t, err)
	z := gzip.NewWriter(f)
	e := json.NewEncoder(z)
	for _, c := range written {
		require.NoError(t, e.Encode(c))
	}
	for _, r := range rows {
		require.NoError(t, e.Encode(change{Row: r}))
	}
	for _, r := range results {
		require.NoError(t, e.Encode(change{Result: r}))
	}
	require.NoError(t, z.Close())
	require.NoError(t, f.Close())
}
