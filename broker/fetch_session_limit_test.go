package broker

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A session that grows beyond the limit of all sessions ends, and what it held counts no more.
func TestASessionThatGrowsTooLargeEnds(t *testing.T) {
	ss := fetchSessions{now: time.Now}
	open := func() *fetchSession {
		s := &fetchSession{turn: make(chan struct{}, 1), wake: make(chan struct{}, 1), epoch: 1}
		s.parts = map[partitionKey]*sessionPart{{}: {}}
		require.True(t, ss.put(s, 1))
		s.leave(&ss)
		return s
	}
	enter := func(s *fetchSession, epoch int32) (*fetchSession, *kerr.Error) {
		req := kmsg.NewPtrFetchRequest()
		req.SessionID, req.SessionEpoch = s.id, epoch
		return ss.enter(context.Background(), req)
	}
	other, s := open(), open()
	for i := range int32(sessionPartitionsMax) {
		s.parts[partitionKey{index: i}] = &sessionPart{}
	}
	_, err := enter(s, 1)
	require.Nil(t, err)
	s.leave(&ss)
	_, err = enter(s, 2)
	require.Equal(t, kerr.FetchSessionIDNotFound, err)
	require.Equal(t, 1, ss.partitions)
	_, err = enter(other, 1)
	require.Nil(t, err)
}
