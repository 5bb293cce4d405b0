package workload

import (
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// What is written arrives in order and later, one write no later for another; answers come at once.
func TestDelayedConn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		c := newDelayedConn(near, 5*time.Millisecond)
		began := time.Now()
		for _, text := range []string{"one", "two"} {
			n, err := c.Write([]byte(text))
			require.NoError(t, err)
			require.Equal(t, len(text), n)
			time.Sleep(time.Millisecond)
		}
		got := make([]byte, 3)
		for i, want := range []string{"one", "two"} {
			_, err := io.ReadFull(far, got)
			require.NoError(t, err)
			require.Equal(t, want, string(got))
			require.Equal(t, time.Duration(5+i)*time.Millisecond, time.Since(began))
		}
		go func() { _, _ = far.Write([]byte("yes")) }()
		_, err := io.ReadFull(c, got)
		require.NoError(t, err)
		require.Equal(t, 6*time.Millisecond, time.Since(began))

		require.NoError(t, far.Close())
		_, err = c.Write([]byte("lost"))
		require.NoError(t, err)
		time.Sleep(10 * time.Millisecond)
		_, err = c.Write([]byte("more"))
		require.ErrorIs(t, err, io.ErrClosedPipe)
		require.NoError(t, c.Close())
	})
}
