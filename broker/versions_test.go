package broker_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"

	"thalweg/broker/brokertest"
)

// Clients of any age produce, consume in groups and use transactions.
func TestOldClients(t *testing.T) {
	for name, versions := range map[string]*kversion.Versions{
		"0.11": kversion.V0_11_0(), "1.0": kversion.V1_0_0(), "2.0": kversion.V2_0_0(), "2.4": kversion.V2_4_0(),
		"2.8": kversion.V2_8_0(), "3.0": kversion.V3_0_0(), "3.6": kversion.V3_6_0(), "3.9": kversion.V3_9_0(),
		"4.0": kversion.V4_0_0(), "latest": kversion.Stable(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // the client waits for seconds between rounds when it thinks that the broker is old
			b := brokertest.New(t)
			createTopic(t, b, 2, "in")
			createTopic(t, b, 2, "out")
			old := kgo.MaxVersions(versions)
			produceValues(t, brokertest.Client(t, b, old), "in", "v", 20)
			session, err := kgo.NewGroupTransactSession(old, kgo.SeedBrokers(b.Addr()), kgo.Dialer(b.Dial),
				kgo.TransactionalID("tx"), kgo.ConsumerGroup("g"), kgo.ConsumeTopics("in"),
				kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
				kgo.FetchMaxWait(50*time.Millisecond))
			require.NoError(t, err)
			defer session.Close()
			ctx := within(t)
			for copied, round := 0, 0; copied < 20; round++ {
				records := session.PollRecords(ctx, 5).Records()
				require.NoError(t, ctx.Err())
				require.NoError(t, session.Begin())
				for _, r := range records {
					session.Produce(ctx, &kgo.Record{Topic: "out", Value: r.Value}, nil)
				}
				end := kgo.TransactionEndTry(round > 0) // the first one is aborted, and read again
				ok, err := session.End(ctx, end)
				require.NoError(t, err)
				if ok {
					copied += len(records)
				}
			}
			out := brokertest.Client(t, b, old, kgo.ConsumeTopics("out"), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
				kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
			seen := map[string]bool{}
			for _, v := range values(consume(t, out, 20)) {
				seen[v] = true
			}
			require.Len(t, seen, 20)
		})
	}
}
