package runtime

import (
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/broker/brokertest"
	"thalweg/internal/align"
	"thalweg/internal/kclient"
	"thalweg/topology"
)

// counted counts what goes over a connection.
type counted struct {
	net.Conn
	bytes *atomic.Int64
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.bytes.Add(int64(n))
	return n, err
}

func (c counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.bytes.Add(int64(n))
	return n, err
}

// BenchmarkCut takes cuts for 1,000 tasks before a repartition, as each process does, with the broker's part of it.
func BenchmarkCut(b *testing.B) {
	const partitions = 1000
	bundled := brokertest.New(b)
	client := brokertest.Client(b, bundled)
	admin := kadm.NewClient(client)
	made, err := admin.CreateTopics(b.Context(), partitions, 1, nil, "in", "app-r-repartition")
	require.NoError(b, err)
	require.NoError(b, made.Error())
	offsets := kadm.Offsets{}
	for p := range int32(partitions) {
		offsets.Add(kadm.Offset{Topic: "in", Partition: p, Metadata: "AgAAAYvP5WgAAAAAAQAAAAAAAAAAAAAACg=="})
	}
	require.NoError(b, admin.CommitAllOffsets(b.Context(), "app", offsets))

	builder := topology.NewBuilder()
	builder.Source("in", topology.NewTopic[string, string]("in")).Repartition("r").
		Sink("out", topology.NewTopic[string, string]("out"))
	topo, err := builder.Build()
	require.NoError(b, err)
	plan := align.New(topo.Subtopologies(), "app", func(string) int32 { return partitions })

	var bytes atomic.Int64
	dial := brokertest.Wrapped(bundled.Dial, func(c net.Conn) net.Conn { return counted{c, &bytes} })
	k, err := kclient.Open(b.Context(), kclient.Config{
		Seeds: []string{bundled.Addr()}, Client: []kgo.Opt{kgo.Dialer(dial), kgo.MetadataMaxAge(time.Hour)},
	})
	require.NoError(b, err)
	defer k.Close()
	log := newCutLog(b.Context(), "app", k)
	_, err = plan.Take(log, nil)
	require.NoError(b, err)
	bytes.Store(0)
	for b.Loop() {
		taken, err := plan.Take(log, nil)
		require.NoError(b, err)
		require.Len(b, taken.Cuts, 1)
	}
	b.ReportMetric(float64(bytes.Load())/float64(b.N), "wire-B/op")
}
