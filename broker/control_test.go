package broker_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/broker"
	"thalweg/broker/brokertest"
)

// Another process asks for a copy through a socket that only the same user can open.
func TestBackupThroughTheSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "thalweg") // the path of a socket is short
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	data, copied := filepath.Join(dir, "data"), filepath.Join(dir, "copy")
	in := func(dir string) brokertest.Option {
		return brokertest.Configure(func(cfg *broker.Config) { cfg.Dir = dir })
	}
	b := brokertest.New(t, in(data))
	createTopic(t, b, 2, "t")
	require.NoError(t, newRawProducer(t, b, "tx").produce(0, "open"))
	p := plain(t, b)
	require.NoError(t, p.send(1, p.batch(1, "v")).Err)
	info, err := os.Stat(filepath.Join(data, "CONTROL"))
	require.NoError(t, err)
	require.Equal(t, os.ModeSocket|0o600, info.Mode())

	_, err = broker.Check(nil, data)
	require.ErrorContains(t, err, "in use")
	require.NoError(t, broker.RequestBackup(within(t), data, copied))
	r, err := broker.Check(nil, copied)
	require.NoError(t, err)
	require.Empty(t, r.Findings)
	require.ErrorContains(t, broker.RequestBackup(within(t), data, copied), "not empty")
	over, cancel := context.WithCancel(t.Context())
	cancel()
	err = broker.RequestBackup(over, data, filepath.Join(dir, "other"))
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "interrupted; no copy was made")

	c := brokertest.New(t, in(copied)) // beside the original
	require.Equal(t, []string{"v"}, committedIn(t, c, 1))
	require.Empty(t, committedIn(t, c, 0))
	require.NoError(t, b.Close())
	require.ErrorContains(t, broker.RequestBackup(within(t), data, filepath.Join(dir, "other")),
		"is one running on this directory? If one is, its log says why it has no socket; if none is, copy the files")
	_, err = os.Lstat(filepath.Join(data, "CONTROL"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

// Where no copy is made, the error says what to do.
func TestBackupsThatFailNameARemedy(t *testing.T) {
	dir, err := os.MkdirTemp("", "thalweg")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	ask := func(data string) error { return broker.RequestBackup(within(t), data, filepath.Join(dir, "copy")) }

	long := filepath.Join(dir, strings.Repeat("long", 50))
	brokertest.New(t, brokertest.Configure(func(cfg *broker.Config) { cfg.Dir = long }))
	require.ErrorContains(t, ask(long), "run the broker on a directory with a shorter path")

	// A socket that a killed broker left.
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "CONTROL"), Net: "unix"})
	require.NoError(t, err)
	l.SetUnlinkOnClose(false)
	ended := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			_, err = bufio.NewReader(conn).ReadString('\n')
		}
		ended <- errors.Join(err, conn.Close())
	}()
	require.ErrorContains(t, ask(dir), "went away before its answer: its log says why; there is no copy unless")
	require.NoError(t, <-ended)
	require.NoError(t, l.Close())
	require.ErrorContains(t, ask(dir), "is one running")
}

// An interrupted backup says that there is no copy. Where the broker was done before it heard of that, there is one.
func TestAnInterruptedBackupSaysWhetherThereIsACopy(t *testing.T) {
	for answer, want := range map[string]string{
		`{"error":"broker: backup to copy: context canceled"}`: "broker: backup: interrupted; no copy was made: " +
			"context canceled",
		`{}`: "",
	} {
		dir, err := os.MkdirTemp("", "thalweg")
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "CONTROL"), Net: "unix"})
		require.NoError(t, err)
		ctx, interrupt := context.WithCancel(within(t))
		defer interrupt()
		served := make(chan error, 1)
		go func() {
			conn, err := l.Accept()
			if err != nil {
				served <- err
				return
			}
			in := bufio.NewReader(conn)
			_, err = in.ReadString('\n')
			interrupt()
			_, end := in.ReadByte()
			if !errors.Is(end, io.EOF) {
				err = errors.Join(err, errors.New("the broker does not hear of the interruption"), end)
			}
			_, failed := conn.Write([]byte(answer + "\n"))
			served <- errors.Join(err, failed, conn.Close())
		}()
		err = broker.RequestBackup(ctx, dir, filepath.Join(dir, "copy"))
		require.NoError(t, <-served)
		if want == "" {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, context.Canceled)
			require.EqualError(t, err, want)
		}
		require.NoError(t, l.Close())
	}
}
