package runtime

import (
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/broker/brokertest"
	"thalweg/internal/kclient"
	"thalweg/internal/progress"
)

// Processes that note at the same time how far they delete from one changelog leave the highest offset, as the last
// record of the topic, which compaction keeps.
func TestStartsAreNotLowered(t *testing.T) {
	const rounds = 10
	b := brokertest.New(t)
	cfg := Config{ApplicationID: "app", Logger: slog.New(slog.DiscardHandler), Clock: time.Now}
	tp := kclient.TopicPartition{Topic: "app-changelog"}
	var processes [3]*progressTopic
	for i := range processes {
		l, err := kclient.Open(t.Context(), kclient.Config{Broker: b})
		require.NoError(t, err)
		t.Cleanup(l.Close)
		require.NoError(t, l.Topics().Ensure(t.Context(), []kclient.TopicSpec{{Name: tp.Topic, Partitions: 1}}))
		processes[i], err = openProgress(t.Context(), l, cfg)
		require.NoError(t, err)
	}
	for round := range int64(rounds) {
		var wg sync.WaitGroup
		var errs [len(processes)]error
		for i, p := range processes {
			wg.Go(func() {
				due := map[kclient.TopicPartition]int64{tp: 10*round + 9 - int64(i)}
				errs[i] = p.raiseStarts(t.Context(), due)
			})
		}
		wg.Wait()
		for _, err := range errs {
			require.NoError(t, err)
		}
		records, err := processes[0].client.ReadKeyed(t.Context(), progress.TopicName("app"))
		require.NoError(t, err)
		last, err := progress.DecodeValue(records[len(records)-1].Value)
		require.NoError(t, err)
		require.Equal(t, 10*round+9, last.Offset, "round %d", round)
	}
}
