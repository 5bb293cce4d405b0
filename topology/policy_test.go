package topology_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/topology"
)

func TestErrorsThatMakeNoSenseAreRefused(t *testing.T) {
	handle := func(*topology.ProcessingError) topology.Action { return nil }
	for _, ok := range []topology.Errors{
		{},
		{Decode: topology.Skip, Process: topology.Fail},
		{Process: topology.DeadLetter, DeadLetters: "dead"},
		{Encode: topology.DeadLetterAndFail, DeadLetters: "dead"},
		{Process: topology.Retry{}},
		{Process: topology.Retry{Attempts: 1, First: time.Minute, Max: time.Minute, Then: topology.Skip}},
		{Process: topology.Retry{Then: topology.DeadLetter}, DeadLetters: "dead"},
		{Handle: handle, DeadLetters: "dead"},
	} {
		require.NoError(t, ok.Check(), "%+v", ok)
	}
	for _, c := range []struct {
		errors topology.Errors
		want   string
	}{
		{topology.Errors{Decode: topology.DeadLetter}, `Errors.Decode is "dead letter" and no topic is set`},
		{topology.Errors{Process: topology.Retry{Then: topology.DeadLetter}}, "Errors.Process is"},
		{topology.Errors{DeadLetters: "dead"}, `Errors.DeadLetters is "dead" and no phase writes to it`},
		{topology.Errors{Process: topology.Skip, DeadLetters: "dead"}, "no phase writes to it"},
		{topology.Errors{Handle: handle, DeadLetters: "a b"}, "Errors.DeadLetters: name \"a b\""},
		{topology.Errors{Process: topology.Retry{Attempts: -1}}, "Errors.Process: Retry.Attempts is -1"},
		{topology.Errors{Process: topology.Retry{First: time.Minute}}, "Retry.First 1m0s is above Retry.Max 30s"},
		{topology.Errors{Process: topology.Retry{First: -1}}, "Retry.First is -1ns"},
		{topology.Errors{Process: topology.Retry{Then: 9}}, "unknown decision 9"},
		{topology.Errors{Process: &topology.Retry{}}, "unknown action *topology.Retry"},
		{topology.Errors{Decode: topology.Retry{}}, "Errors.Decode: the same bytes"},
		{topology.Errors{Encode: topology.Retry{}}, "Errors.Encode: the same bytes"},
	} {
		require.ErrorContains(t, c.errors.Check(), c.want)
	}
}
