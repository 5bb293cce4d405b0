package runtime

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

type anyBroker struct{ Broker }

func (anyBroker) Addr() string { return "" }

func (anyBroker) Dial(context.Context, string, string) (net.Conn, error) { return nil, net.ErrClosed }

// Over a network a partition has one batch under way at a time: small ones would let the network set the pace.
func TestBatchesAreLargerOverANetwork(t *testing.T) {
	for _, test := range []struct {
		cfg  Config
		want int
	}{
		{Config{Broker: anyBroker{}}, 256 << 10},
		{Config{Broker: anyBroker{}, NoLocal: true}, 1_000_000},
		{Config{Seeds: []string{"a:1"}}, 1_000_000},
		{Config{Seeds: []string{"a:1"}, Limits: Limits{RecordBytesMax: 500_000}}, 500_000},
		{Config{Seeds: []string{"a:1"}, Limits: Limits{RecordBytesMax: 10 << 20}}, 1_000_000},
		{Config{Seeds: []string{"a:1"}, Limits: Limits{RecordBytesMax: 100}}, 1 << 10},
		{Config{Seeds: []string{"a:1"}, Limits: Limits{BatchBytes: 5000}}, 5000},
	} {
		require.Equal(t, test.want, test.cfg.withDefaults().Limits.BatchBytes)
	}
}

// Who takes the tasks of a process that died waits for the end of its transaction: no longer than for its session.
func TestATransactionEndsWithTheSession(t *testing.T) {
	for _, test := range []struct {
		cfg  Config
		want time.Duration
	}{
		{Config{}, 10 * time.Second},
		{Config{SessionTimeout: 6 * time.Second}, 6 * time.Second},
		{Config{SessionTimeout: 20 * time.Second}, 10 * time.Second},
		{Config{SessionTimeout: 2 * time.Second, CommitInterval: 3 * time.Second}, 6 * time.Second},
		{Config{SessionTimeout: 6 * time.Second, TransactionTimeout: 9 * time.Second}, 9 * time.Second},
	} {
		require.Equal(t, test.want, test.cfg.withDefaults().TransactionTimeout)
	}
}
