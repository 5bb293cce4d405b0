package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"thalweg/broker"
	"thalweg/broker/brokertest"
)

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// running runs a command line and returns what it says on standard error.
func running(t *testing.T, in io.Reader, out io.Writer, line string) (said string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var stderr bytes.Buffer
	root := command()
	root.SetArgs(longFlags(root, strings.Fields(line)))
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(&stderr)
	err = root.ExecuteContext(ctx)
	return stderr.String(), err
}

// A listener that takes connections and never answers: each command says so, and ends.
func TestABrokerThatDoesNotAnswer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	for _, line := range []string{
		"topics list", "topics create t", "topics describe t", "topics alter t -p 2", "topics delete t", "produce t",
		"consume t -n 1",
	} {
		said, err := running(t, strings.NewReader("a\n"), io.Discard, line+" -timeout 100ms -brokers "+l.Addr().String())
		require.ErrorContains(t, err, "no answer from the broker at "+l.Addr().String()+" within 100ms", line)
		require.Contains(t, said, "no answer from the broker at "+l.Addr().String()+" for", line)
		require.Contains(t, said, "giving up after 100ms (-timeout)", line)
	}
}

// The broker is gone while a command has something to ask: standard error says so, and the command fails.
func TestABrokerThatGoesAway(t *testing.T) {
	b := serving(t)
	at := " -brokers " + b.Addr() + " -timeout 1s"
	works(t, "", "topics create t -p 1"+at)
	works(t, "a\n", "produce t"+at)
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer w.Close()
	var closing sync.Once
	gone := make(chan struct{})
	leave := func() { closing.Do(func() { require.NoError(t, b.Close()); close(gone) }) }

	type result struct {
		said string
		err  error
	}
	produced := make(chan result, 1)
	go func() {
		said, err := running(t, r, io.Discard, "produce t"+at)
		produced <- result{said, err}
	}()
	_, err = w.WriteString("b\n")
	require.NoError(t, err)
	var seen bytes.Buffer
	said, err := running(t, nil, writerFunc(func(p []byte) (int, error) {
		if seen.Write(p); strings.Contains(seen.String(), "b\n") {
			leave()
		}
		return len(p), nil
	}), "consume t"+at)
	require.ErrorContains(t, err, "no answer from the broker")
	require.Contains(t, said, "no answer from the broker")
	<-gone
	_, err = w.WriteString("c\n") // the input stays open
	require.NoError(t, err)
	p := <-produced
	require.ErrorContains(t, p.err, "no answer from the broker")
	require.ErrorContains(t, p.err, "(1 of the 2 records that were read are acknowledged)")
	require.Contains(t, p.said, "no answer from the broker")
}

// A member of a group lives through a restart of its broker.
func TestGroupOverARestart(t *testing.T) {
	fs := vfs.NewMem()
	b := serving(t, brokertest.On(fs))
	at := " -brokers " + b.Addr()
	works(t, "", "topics create t -p 1"+at)
	works(t, "a\n", "produce t"+at)
	var once sync.Once
	again := make(chan struct{})
	var seen bytes.Buffer
	_, err := running(t, nil, writerFunc(func(p []byte) (int, error) {
		once.Do(func() {
			go func() {
				defer close(again)
				assert.NoError(t, b.Close())
				l, err := net.Listen("tcp", b.Addr())
				assert.NoError(t, err)
				for range 20 { // nobody is there for a while
					if conn, err := l.Accept(); assert.NoError(t, err) {
						conn.Close()
					}
				}
				brokertest.New(t, brokertest.On(fs), brokertest.Configure(func(c *broker.Config) { c.Listener = l }))
				works(t, "b\n", "produce t"+at)
			}()
		})
		return seen.Write(p)
	}), "consume t -group g -n 2"+at)
	<-again
	require.NoError(t, err)
	require.Contains(t, seen.String(), "b\n")
}
