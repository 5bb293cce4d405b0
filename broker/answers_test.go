package broker_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"thalweg/broker"
	"thalweg/broker/brokertest"
	"thalweg/internal/batch"
	"thalweg/internal/memory"
)

// Many clients that ask for much at a time get as much as there is memory for, and all of it in the end.
func TestAnswersStayWithinTheirMemory(t *testing.T) {
	const busyBytes, batches, clients = 8 << 20, 24, 6
	const answerBytes = busyBytes / 4 / 4
	b := brokertest.New(t, brokertest.Configure(func(c *broker.Config) { c.MaxBusyBytes = busyBytes }))
	createTopic(t, b, 1, "t")
	p := plain(t, b)
	for range batches {
		require.NoError(t, p.send(0, p.batch(0, strings.Repeat("v", 200<<10))).Err)
	}
	m, err := memory.Join(memory.Request{Name: "test", Kinds: []memory.Kind{memory.Clients}, Follows: true})
	require.NoError(t, err)
	defer m.Leave()
	requests := func() memory.Holder {
		for _, h := range m.Usage().Holders {
			if h.Kind == memory.Requests {
				return h
			}
		}
		return memory.Holder{}
	}
	byName := kversion.Stable()
	byName.SetMaxKeyVersion(int16(kmsg.Fetch), 12)
	done := make(chan struct{})
	var reading sync.WaitGroup
	for range clients {
		reading.Go(func() {
			client := brokertest.Client(t, b, kgo.MaxVersions(byName))
			for offset := int64(0); offset < batches; {
				req := kmsg.NewPtrFetchRequest()
				req.MaxBytes, req.MinBytes, req.MaxWaitMillis = 50<<20, 1, 1000
				p := kmsg.NewFetchRequestTopicPartition()
				p.FetchOffset, p.PartitionMaxBytes = offset, 50<<20
				topic := kmsg.NewFetchRequestTopic()
				topic.Topic, topic.Partitions = "t", []kmsg.FetchRequestTopicPartition{p}
				req.Topics = []kmsg.FetchRequestTopic{topic}
				resp, err := client.SeedBrokers()[0].Request(t.Context(), req)
				if err != nil {
					t.Error(err)
					return
				}
				got := resp.(*kmsg.FetchResponse).Topics[0].Partitions[0].RecordBatches
				if len(got) == 0 || len(got) > answerBytes {
					t.Errorf("an answer of %d bytes", len(got))
					return
				}
				for len(got) > 0 {
					parsed, rest, err := batch.Parse(got)
					if err != nil {
						t.Error(err)
						return
					}
					offset, got = parsed.LastOffset()+1, rest
				}
			}
		})
	}
	go func() {
		reading.Wait()
		close(done)
	}()
	for peak := int64(0); ; {
		select {
		case <-done:
			require.Positive(t, peak, "answers are counted")
			require.Eventually(t, func() bool { return requests().Bytes == 0 }, patience, time.Millisecond)
			return
		default:
			h := requests()
			peak = max(peak, h.Bytes)
			require.LessOrEqual(t, h.Bytes, h.BytesMax)
		}
	}
}
