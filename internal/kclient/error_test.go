package kclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestClassOf(t *testing.T) {
	for _, c := range []struct {
		err  error
		want Class
	}{
		{ErrClosed, Canceled},
		{kgo.ErrClientClosed, Canceled},
		{fmt.Errorf("x: %w", context.Canceled), Canceled},
		{context.DeadlineExceeded, Abort},
		{classified(io.ErrUnexpectedEOF), Abort},
		{classified(fmt.Errorf("x: %w", kerr.UnknownServerError)), Fatal},
		{classified(&Error{Fenced, io.EOF}), Fenced},
		{syscall.ENOSPC, Fatal},
		{io.ErrUnexpectedEOF, Fatal},
		{kerr.OutOfOrderSequenceNumber, Abort},
		{kerr.TransactionAbortable, Abort},
		{kerr.NotEnoughReplicas, Abort},
		{kerr.ProducerFenced, Fenced},
		{fmt.Errorf("x: %w", kerr.InvalidProducerEpoch), Fenced},
		{kerr.IllegalGeneration, Fenced},
		{kerr.UnknownMemberID, Fenced},
		{kerr.FencedInstanceID, Fatal},
		{kerr.MessageTooLarge, Fatal},
		{kerr.TopicAuthorizationFailed, Fatal},
		{kerr.SaslAuthenticationFailed, Fatal},
		{fmt.Errorf("x: %w", &Error{Fenced, kerr.TopicAuthorizationFailed}), Fenced},
		{&OutOfRangeError{}, Fatal},
	} {
		require.Equal(t, c.want, ClassOf(c.err), "%v", c.err)
	}
	require.Equal(t, Fatal, ClassOf(produceFailure(TopicPartition{"t", 0}, kerr.UnknownTopicOrPartition)))
	require.False(t, isRetriable(errors.Join(kgo.ErrClientClosed, io.EOF)))
}
