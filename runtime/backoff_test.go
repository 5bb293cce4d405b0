package runtime

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBackOff(t *testing.T) {
	stop := make(chan struct{})
	close(stop)
	var b backOff
	require.NoError(t, b.failed(t.Context(), nil))
	require.Zero(t, b.pause(), "the first try comes at once")
	require.NoError(t, b.failed(t.Context(), stop))
	require.Equal(t, healLeast, b.pause())
	require.NoError(t, b.failed(t.Context(), stop))
	require.Equal(t, 2*healLeast, b.pause())
	for range 100 {
		require.NoError(t, b.failed(t.Context(), stop))
	}
	require.Equal(t, healMost, b.pause())

	ended := errors.New("ended")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(ended)
	require.ErrorIs(t, b.failed(ctx, nil), ended)
	b.committed()
	require.Zero(t, b.pause())
}
