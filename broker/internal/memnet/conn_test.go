package memnet

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBytesArriveInOrder(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	want := make([]byte, 5*MaxBufferBytes+12345)
	for i := range want {
		want[i] = byte(rnd.Uint32())
	}
	client, server := Pair("client", "server")
	go func() {
		rest := want
		for len(rest) > 0 {
			n, err := client.Write(rest[:min(len(rest), 1+rnd.IntN(300_000))])
			if err != nil {
				break
			}
			rest = rest[n:]
		}
		client.Close()
	}()
	var got bytes.Buffer
	buf := make([]byte, 77_777)
	for {
		n, err := server.Read(buf)
		got.Write(buf[:n])
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
	}
	require.True(t, bytes.Equal(want, got.Bytes()))
}

func TestWriteWaitsForTheReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := Pair("client", "server")
		done := make(chan int)
		go func() {
			n, _ := client.Write(make([]byte, MaxBufferBytes+1))
			done <- n
		}()
		synctest.Wait()
		select {
		case <-done:
			t.Fatal("more than the buffer was accepted")
		default:
		}
		_, err := server.Read(make([]byte, 1))
		require.NoError(t, err)
		require.Equal(t, MaxBufferBytes+1, <-done)
	})
}

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := Pair("client", "server")
		start := time.Now()
		require.NoError(t, server.SetReadDeadline(start.Add(time.Second)))
		_, err := server.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, time.Second, time.Since(start))

		require.NoError(t, server.SetReadDeadline(time.Time{}))
		_, err = client.Write([]byte("x"))
		require.NoError(t, err)
		_, err = server.Read(make([]byte, 1))
		require.NoError(t, err)

		require.NoError(t, client.SetWriteDeadline(time.Now().Add(time.Second)))
		n, err := client.Write(make([]byte, 2*MaxBufferBytes))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, MaxBufferBytes, n)
	})
}

func TestClose(t *testing.T) {
	client, server := Pair("client", "server")
	_, err := client.Write([]byte("last words"))
	require.NoError(t, err)
	require.NoError(t, client.Close())
	require.NoError(t, client.Close())
	got, err := io.ReadAll(server)
	require.NoError(t, err)
	require.Equal(t, "last words", string(got))
	_, err = server.Write([]byte("x"))
	require.ErrorIs(t, err, io.ErrClosedPipe)
	_, err = client.Read(make([]byte, 1))
	require.ErrorIs(t, err, net.ErrClosed)
	_, err = client.Write([]byte("x"))
	require.ErrorIs(t, err, net.ErrClosed)
}
