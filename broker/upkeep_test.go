package broker

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/broker/internal/log"
)

// Maintenance and compaction go through the topics as they were at the start. A topic that is deleted meanwhile is no
// error of theirs; anything else is.
func TestUpkeepOfATopicThatIsDeletedMeanwhile(t *testing.T) {
	var logged strings.Builder
	open, err := Open(Config{Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	require.NoError(t, err)
	defer func() { require.NoError(t, open.Close()) }()
	client, err := kgo.NewClient(kgo.SeedBrokers(open.Addr()), kgo.Dialer(open.Dial))
	require.NoError(t, err)
	defer client.Close()
	admin := kadm.NewClient(client)
	_, err = admin.CreateTopic(t.Context(), 2, 1, nil, "topic")
	require.NoError(t, err)
	b := open.in.(*broker)
	closed := 0
	b.eachLog("upkeep", func(l *log.Log) error {
		_, err := admin.DeleteTopic(t.Context(), "topic")
		if !errors.Is(err, kerr.UnknownTopicOrPartition) { // as it is when the next log has its turn
			require.NoError(t, err)
		}
		if errors.Is(l.Maintain(), log.ErrClosed) {
			closed++
		}
		return errors.Join(l.Maintain(), l.Compact(b.stop))
	})
	require.Equal(t, 2, closed, "the topic's partitions")
	require.Empty(t, logged.String())
	_, err = admin.CreateTopic(t.Context(), 1, 1, nil, "another")
	require.NoError(t, err)
	b.eachLog("upkeep", func(*log.Log) error { return errors.New("trouble") })
	require.Contains(t, logged.String(), "trouble")
}
