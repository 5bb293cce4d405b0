package main

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A broker that has not answered yet may have what is missing.
func TestTheEndWaitsForEachBroker(t *testing.T) {
	e := ends{left: map[string]map[int32]int64{"t": {0: 5, 1: 5}}}
	answers := func(broker int32, times int) {
		for range times {
			e.OnBrokerRead(kgo.BrokerMetadata{NodeID: broker}, int16(kmsg.Fetch), 20, 0, time.Second, nil)
		}
	}
	e.expect(map[int32]bool{1: true, 2: true})
	answers(1, 10)
	answers(7, 10)
	require.False(t, e.reached(), "broker 2 has said nothing")
	answers(2, emptyAnswers-1)
	require.False(t, e.reached())
	e.expect(map[int32]bool{1: true, 2: true})
	answers(2, 1)
	require.True(t, e.reached())
	e.expect(map[int32]bool{1: true, 3: true})
	require.False(t, e.reached(), "another broker has taken over")
	e.expect(map[int32]bool{1: true})
	require.True(t, e.reached())
}

// A member that was away for too long joins again.
func TestTroubleOfAGroup(t *testing.T) {
	c := consume{group: "g"}
	after := func(err error) error {
		return c.trouble(t.Context(), nil, kgo.NewErrFetch(&kgo.ErrGroupSession{Err: err}), nil)
	}
	for _, err := range []error{
		kerr.UnknownMemberID, kerr.IllegalGeneration, kerr.RebalanceInProgress, kerr.CoordinatorNotAvailable,
		errors.New("connection lost"),
	} {
		require.NoError(t, after(err))
	}
	require.ErrorContains(t, after(kerr.GroupAuthorizationFailed), "group g: GROUP_AUTHORIZATION_FAILED")
}
