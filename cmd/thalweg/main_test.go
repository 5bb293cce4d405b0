package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"

	"thalweg/broker"
	"thalweg/broker/brokertest"
)

// serve opens a broker in memory that listens, and returns its address.
func serve(t *testing.T, opts ...brokertest.Option) string { return serving(t, opts...).Addr() }

func serving(t *testing.T, opts ...brokertest.Option) *broker.Broker {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return brokertest.New(t, append(opts, brokertest.Configure(func(c *broker.Config) { c.Listener = l }))...)
}

// unused is an address at which nobody listens.
func unused(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

// thalweg runs a command line, which has at most a minute.
func thalweg(t *testing.T, in, line string) (out string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var stdout bytes.Buffer
	root := command()
	root.SetArgs(longFlags(root, strings.Fields(line)))
	root.SetIn(strings.NewReader(in))
	root.SetOut(&stdout)
	root.SetErr(&stdout)
	err = root.ExecuteContext(ctx)
	return stdout.String(), err
}

// works returns the output of a command line that must work.
func works(t *testing.T, in, line string) string {
	t.Helper()
	out, err := thalweg(t, in, line)
	require.NoError(t, err, line)
	return out
}

func TestTopics(t *testing.T) {
	at := " -brokers " + serve(t)
	require.Equal(t, "created a\ncreated b\n", works(t, "", "topics create a b -p 3 -config retention.ms=1000"+at))
	require.Equal(t, "a\t3 partitions\nb\t3 partitions\n", works(t, "", "topics list"+at))
	described := works(t, "", "topics describe b"+at)
	require.Contains(t, described, "  2          1       0      0\n")
	require.Contains(t, described, "  retention.ms=1000\n")
	require.Equal(t, "deleted b\n", works(t, "", "topics delete b"+at))
	require.Equal(t, "a\t3 partitions\n", works(t, "", "topics list"+at))
	for line, want := range map[string]string{
		"topics create a":                   "topic a: TOPIC_ALREADY_EXISTS",
		"topics create c -p 0":              "topic c: INVALID_PARTITIONS",
		"topics create c -config cleanup":   `-config "cleanup": want KEY=VALUE`,
		"topics create c -config what=ever": "what",
		"topics describe b":                 "UNKNOWN_TOPIC_OR_PARTITION",
		"topics delete b":                   "topic b: UNKNOWN_TOPIC_OR_PARTITION",
		"topics create": "requires at least 1 arg(s), only received 0: usage: thalweg topics create TOPIC… [flags]; " +
			"see thalweg topics create -help",
		"topics describe a -no-such-flag=me": "unknown flag: --no-such-flag: see thalweg topics describe -help",
		"topics list -brokers ,":             "-brokers is empty",
	} {
		if !strings.Contains(line, "-brokers") {
			line += at
		}
		_, err := thalweg(t, "", line)
		require.ErrorContains(t, err, want, line)
	}
}

func TestUnknownCommands(t *testing.T) {
	for line, want := range map[string]string{
		"topics descibe a -brokers x:1": `unknown command "descibe" for "thalweg topics": did you mean describe?`,
		"topics -brokers x:1 descibe a": `unknown command "descibe" for "thalweg topics": did you mean describe?`,
		"topics shred -brokers x:1": `unknown command "shred" for "thalweg topics": there are ` +
			"alter, create, delete, describe, list",
		"topcs list -brokers x:1": "unknown command \"topcs\" for \"thalweg\"\n\nDid you mean this?\n\ttopics\n",
	} {
		_, err := thalweg(t, "", line)
		require.EqualError(t, err, want, line)
	}
	require.Contains(t, works(t, "", "topics"), "thalweg topics [command]")
}

// The value of a flag may look like a flag.
func TestLongFlags(t *testing.T) {
	for line, want := range map[string]string{
		"produce t -fixed-key -abc -null -none -key :": "produce t --fixed-key -abc --null -none --key :",
		"produce t -fixed-key=-abc -H -from=me":        "produce t --fixed-key=-abc -H -from=me",
		"produce t --fixed-key -abc":                   "produce t --fixed-key -abc",
		"produce t -k -x- -timeout 1s":                 "produce t -k -x- --timeout 1s",
		"produce t -null -- -key :":                    "produce t --null -- --key :",
		"consume t -exit -from -10 -n10 -p0 -k:":       "consume t --exit --from -10 -n10 -p0 -k:",
		"consume t -e -key : -- -exit":                 "consume t -e --key : -- -exit",
		"topics describe a -no-such-flag=me":           "topics describe a --no-such-flag=me",
		"groups lag -brokers":                          "groups lag --brokers",
	} {
		require.Equal(t, want, strings.Join(longFlags(command(), strings.Fields(line)), " "), line)
	}
	at := " -brokers " + serve(t)
	works(t, "", "topics create t -p 1"+at)
	works(t, "a\n-none\n", "produce t -fixed-key -abc -null -none"+at)
	require.Equal(t, "-abc:a\n-abc:NULL\n", works(t, "", "consume t -e -k:"+at))
}

func TestProduceAndConsume(t *testing.T) {
	at := " -brokers " + serve(t)
	works(t, "", "topics create orders -p 1"+at)
	works(t, "anna:3 apples\nbert:\nanna:1:2\n", "produce orders -k :"+at)
	require.Equal(t, "3 apples\n\n1:2\n", works(t, "", "consume orders -n 3"+at))
	require.Equal(t, "anna:3 apples\nbert:\n", works(t, "", "consume orders -k : -n 2"+at))
	require.Equal(t, "anna=1:2\n", works(t, "", "consume orders -k = -from 2 -n 1"+at))
	// A group goes on where it was.
	require.Equal(t, "3 apples\n", works(t, "", "consume orders -group g -n 1"+at))
	require.Equal(t, "\n1:2\n", works(t, "", "consume orders -group g -n 2"+at))

	_, err := thalweg(t, "a:1\nb\n", "produce orders -k :"+at)
	require.ErrorContains(t, err, `line 2: no ":" between key and value`)
	_, err = thalweg(t, "", "consume orders -from yesterday"+at)
	require.ErrorContains(t, err, `-from "yesterday": want earliest, latest, an offset`)
	_, err = thalweg(t, "", "consume orders -longs -from 2 -n 1"+at)
	require.ErrorContains(t, err, "topic orders partition 0 offset 2: the value has 3 bytes")
}

func TestMissingTopic(t *testing.T) {
	at := " -brokers " + serve(t)
	_, err := thalweg(t, "a\n", "produce nowhere"+at)
	require.ErrorContains(t, err, "UNKNOWN_TOPIC_OR_PARTITION")
	require.ErrorContains(t, err, "thalweg topics create makes the topic")
	_, err = thalweg(t, "", "consume nowhere -n 1"+at)
	require.ErrorContains(t, err, "topic nowhere: UNKNOWN_TOPIC_OR_PARTITION")
	require.ErrorContains(t, err, "thalweg topics create makes it")
}

// TestConsumeADamagedLog: what lies before the damage is printed, and then the error; it does not hang.
func TestConsumeADamagedLog(t *testing.T) {
	fs := vfs.NewMem()
	b := serving(t, brokertest.On(fs))
	at := " -brokers " + b.Addr()
	works(t, "", "topics create orders -p 1"+at)
	works(t, "whole\n", "produce orders"+at)
	works(t, "broken\n", "produce orders"+at)
	require.NoError(t, b.Close())
	const name = "broker/orders-0/00000000000000000000.log"
	stat, err := fs.Stat(name)
	require.NoError(t, err)
	brokertest.Flip(t, fs, name, stat.Size()-3)
	out, err := thalweg(t, "", "consume orders -n 2 -brokers "+serve(t, brokertest.On(fs)))
	require.ErrorIs(t, err, kerr.CorruptMessage)
	require.ErrorContains(t, err, "topic orders partition 0")
	require.Equal(t, "whole\n", out)
}

func TestNobodyAnswers(t *testing.T) {
	addr := unused(t)
	for _, line := range []string{"topics list", "produce t", "consume t -n 1", "bench count -records 10"} {
		_, err := thalweg(t, "a\n", line+" -brokers "+addr)
		require.ErrorContains(t, err, "no broker answers at "+addr, line)
	}
}

func TestBrokerCommandRefuses(t *testing.T) {
	for line, want := range map[string]string{
		"broker -sync sometimes":                             "sometimes",
		"broker -listen nowhere:x":                           "broker: listen tcp",
		"broker -listen 127.0.0.1:0 -dir /dev/null/anything": "/dev/null/anything",
		"broker data":                                        "unknown command \"data\"",
	} {
		_, err := thalweg(t, "", line)
		require.ErrorContains(t, err, want, line)
	}
}

func TestTopologyOfEachExample(t *testing.T) {
	for name := range examples() {
		require.True(t, strings.HasPrefix(works(t, "", "topology "+name), "Topologies:\n   Sub-topology: 0\n"), name)
		require.True(t, json.Valid([]byte(works(t, "", "topology -format json "+name))))
		require.Contains(t, works(t, "", "topology -format dot "+name), "digraph")
		require.Contains(t, works(t, "", "topology -format mermaid "+name), "flowchart")
		require.NotEmpty(t, works(t, "", "topology -format fingerprint "+name))
	}
	_, err := thalweg(t, "", "topology nothing")
	require.ErrorContains(t, err, `no example "nothing": there are aggregate, joins`)
	_, err = thalweg(t, "", "topology wordcount -format svg")
	require.ErrorContains(t, err, "want text, dot, mermaid, json or fingerprint")
}

func TestBenchPrintsALineOfJSON(t *testing.T) {
	out := works(t, "", "bench count -records 2000 -sync never -json")
	var r map[string]any
	require.NoError(t, json.Unmarshal([]byte(out), &r), out)
	require.Equal(t, 1, strings.Count(out, "\n"))
	for _, field := range []string{
		"workload", "brokers", "guarantee", "commit_ms", "workers", "records", "words", "wall_s", "cpu_s", "per_s",
		"per_cpu_s", "peak_rss_mib", "checked",
	} {
		require.Contains(t, r, field)
	}
	_, err := thalweg(t, "", "bench marathon")
	require.ErrorContains(t, err, "marathon")
	for _, workload := range []string{"latency", "restore"} {
		_, err = thalweg(t, "", "bench "+workload+" -filled")
		require.ErrorContains(t, err, "leave out --filled")
	}
}
