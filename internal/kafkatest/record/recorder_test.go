package main

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// named is ApiVersions v3 of a client that calls itself "Abc d".
const named = "\x00\x12\x00\x03\x00\x00\x00\x01\x00\x03x-1" + "\x00" + "\x06Abc d" + "\x021" + "\x00"

// A connection's requests reach the broker as they are, and one of each kind is written down.
func TestRecord(t *testing.T) {
	broker := listen(t)
	front := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	r := newRecorder()
	done := make(chan error, 1)
	go func() { done <- pass(ctx, front, broker.Addr().String(), r) }()
	client, err := net.Dial("tcp", front.Addr().String())
	require.NoError(t, err)
	server, err := broker.Accept()
	require.NoError(t, err)
	large := "\x00\x00\x00\x09\x00\x00\x00\x03\xff\xff" + string(make([]byte, frameBytesMax))
	stream := framed(named) + framed("\x00\x03\x00\x00\x00\x00\x00\x02\xff\xff") +
		framed("\x00\x03\x00\x00\x00\x00\x00\x02\xff\xff\x00\x00\x00\x00") + framed(large) + framed("short")
	_, err = client.Write([]byte(stream))
	require.NoError(t, err)
	passed := make([]byte, len(stream))
	_, err = io.ReadFull(server, passed)
	require.NoError(t, err)
	require.Equal(t, stream, string(passed))
	_, err = server.Write([]byte("answer"))
	require.NoError(t, err)
	answer := make([]byte, len("answer"))
	_, err = io.ReadFull(client, answer)
	require.NoError(t, err)
	require.Equal(t, "answer", string(answer))
	require.NoError(t, client.Close())
	_, err = server.Read(answer)
	require.Equal(t, io.EOF, err)
	cancel()
	require.NoError(t, <-done)

	dir := t.TempDir()
	require.NoError(t, r.write(dir))
	text, err := os.ReadFile(filepath.Join(dir, "abc-d.txt"))
	require.NoError(t, err)
	require.Equal(t, "3 0 0003000000000002ffff00000000\n"+
		"18 3 0012000300000001"+"0003782d31"+"00"+"064162632064"+"0231"+"00\n", string(text))
}

// The largest request of a moderate size is kept, or else the smallest.
func TestBetter(t *testing.T) {
	require.True(t, better(20, 10))
	require.False(t, better(10, 20))
	require.False(t, better(frameBytesGood+1, 20))
	require.True(t, better(20, frameBytesGood+1))
	require.True(t, better(frameBytesGood+1, frameBytesGood+2))
	require.False(t, better(frameBytesGood+2, frameBytesGood+1))
}

// Clients that do not name their software go by the first word of their ids.
func TestClientName(t *testing.T) {
	require.Equal(t, "aiokafka", clientName("", "aiokafka-producer-1"))
	require.Equal(t, "apache-kafka-java", clientName("apache-kafka-java", "producer-1"))
	require.Equal(t, "unknown", clientName("", "../"))
}

func listen(t *testing.T) net.Listener {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	return listener
}

func framed(frame string) string {
	return string([]byte{0, 0, byte(len(frame) >> 8), byte(len(frame))}) + frame
}
