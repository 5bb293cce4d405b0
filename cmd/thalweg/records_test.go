package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/broker/brokertest"
)

// A null is neither an empty text nor the text that stands for it.
func TestNulls(t *testing.T) {
	at := " -brokers " + serve(t)
	works(t, "", "topics create t -p 1"+at)
	works(t, "k:NULL\nk:\nNULL:v\n", "produce t -k : -null NULL"+at)
	works(t, "k:NULL\n", "produce t -k :"+at)
	require.Equal(t, "k:NULL\nk:\nNULL:v\nk:NULL\n", works(t, "", "consume t -k : -n 4"+at))
	require.Equal(t, "k:-\nk:\n-:v\nk:NULL\n", works(t, "", "consume t -k : -n 4 -null -"+at))
	require.Equal(t, "-1,0,1,4,", works(t, "", "consume t -n 4 -format %S,"+at))
}

func TestRecordsAsJSON(t *testing.T) {
	at := " -brokers " + serve(t)
	works(t, "", "topics create a b -p 2"+at)
	in := `{"partition":1,"timestamp":"2026-01-31T08:00:00.123Z","key":"k","value":"<v>","headers":[` +
		`{"name":"h","value":"x"},{"name":"n"},{"name":"b","value_base64":"/w=="}]}
{"partition":1,"timestamp":"2026-01-31T08:00:00.124Z","key":null,"value_base64":"/wA="}
{"partition":1,"timestamp":"2026-01-31T08:00:00.125Z","key":"","value":{"name": "anna"}}
`
	works(t, in, "produce a -input json"+at)
	out := works(t, "", "consume a -e -o json"+at)
	require.Equal(t, `{"topic":"a","partition":1,"offset":0,"timestamp":"2026-01-31T08:00:00.123Z","key":"k",`+
		`"value":"<v>","headers":[{"name":"h","value":"x"},{"name":"n","value":null},{"name":"b","value_base64":"/w=="}]}
{"topic":"a","partition":1,"offset":1,"timestamp":"2026-01-31T08:00:00.124Z","key":null,"value_base64":"/wA="}
{"topic":"a","partition":1,"offset":2,"timestamp":"2026-01-31T08:00:00.125Z","key":"","value":"{\"name\": \"anna\"}"}
`, out)
	works(t, out, "produce b -input json"+at)
	require.Equal(t, strings.ReplaceAll(out, `"topic":"a"`, `"topic":"b"`), works(t, "", "consume b -e -o json"+at))
	for in, want := range map[string]string{
		"{":                               "line 1: unexpected EOF",
		"":                                "line 1: the line is empty: want an object",
		`{"valu":"v"}`:                    `line 1: json: unknown field "valu"`,
		`{"value":"v"}{}`:                 "line 1: more than one object in a line",
		`{"key":"k","key_base64":"/w"}`:   "illegal base64",
		`{"key":"k","key_base64":"/w=="}`: "line 1: key and key_base64: give one of them",
		`{"timestamp":"today"}`:           `line 1: timestamp "today": want a time such as`,
		`{"partition":7}`:                 "line 1: no partition 7: the topic has 2",
	} {
		_, err := thalweg(t, in+"\n", "produce a -input json"+at)
		require.ErrorContains(t, err, want, in)
	}
}

func TestWhatProduceSaysOfAllRecords(t *testing.T) {
	at := " -brokers " + serve(t)
	works(t, "", "topics create t -p 3"+at)
	works(t, "a\nb\n", "produce t -p 2 -fixed-key k -H from=shop -H none -timestamp 1700000000000"+at)
	require.Equal(t, "t;2;0;k;a;1700000000000;from=shop,none=NULL;1;1\nt;2;1;k;b;1700000000000;from=shop,none=NULL;1;1\n",
		works(t, "", `consume t -e -format %t;%p;%o;%k;%s;%T;%h;%K;%S\n`+at))
	for line, want := range map[string]string{
		"produce t -p 3":                   "line 1: no partition 3: the topic has 3",
		"produce t -p -3":                  "-partition -3: want 0 or more",
		"produce t -k : -fixed-key k":      "-key and -fixed-key: give one of them",
		"produce t -k : -input json":       "-key is for lines of text, not for -input json",
		"produce t -null x -input json":    "-null is for text: an object has null",
		"produce t -H =x":                  `-header "=x": want NAME=VALUE`,
		"produce t -timestamp soon":        `-timestamp "soon": want a time`,
		"produce t -input xml":             "want lines, json or value",
		"produce t -timeout -1s":           "-timeout -1s: want a positive duration",
		"consume t -n -1":                  "-number -1: want 0 or more",
		"consume t -p 3":                   "topic t has no partition 3: it has 3, from 0 on",
		"consume t -group g -e":            "leave out -partition and -exit",
		"consume t -format %x":             `-format "%x" has "%x": want %t topic`,
		"consume t -format %":              `-format "%" ends in "%"`,
		"consume t -format %s -k :":        "leave out -key and -output",
		"consume t -o json -k :":           "an object has the key anyway",
		"consume t -o json -null x":        "an object has null",
		"consume t -from 2026-13-01":       `-from "2026-13-01": want earliest, latest, an offset`,
		"consume t -brokers nowhere:1:2:3": "no broker answers at nowhere:1:2:3",
	} {
		if !strings.Contains(line, "-brokers") {
			line += at
		}
		_, err := thalweg(t, "x:y\n", line)
		require.ErrorContains(t, err, want, line)
	}
}

func TestConsumeFrom(t *testing.T) {
	at := " -brokers " + serve(t)
	works(t, "", "topics create t -p 1"+at)
	for i, v := range []string{"a", "b", "c", "d"} {
		works(t, v+"\n", "produce t -timestamp 2026-01-0"+string(rune('1'+i))+at)
	}
	for from, want := range map[string]string{
		"earliest": "a\nb\nc\nd\n", "latest": "", "2": "c\nd\n", "-1": "d\n", "-9": "a\nb\nc\nd\n", "9": "",
		"2026-01-03": "c\nd\n", "2026-02-01T00:00:00Z": "", "1h": "", "999999h": "a\nb\nc\nd\n",
	} {
		require.Equal(t, want, works(t, "", "consume t -e -from "+from+at), from)
		require.Equal(t, want, works(t, "", "consume t -e -p 0 -from "+from+at), from)
	}
	require.Equal(t, "c\n", works(t, "", "consume t -n 1 -p 0 -from -2"+at))
	require.Equal(t, "c\n", works(t, "", "consume t -n 1 -from 2026-01-03"+at))
}

// The end that consume stops at is that of what it may read: an aborted transaction does not hold it up.
func TestConsumeToTheEndOfTransactions(t *testing.T) {
	addr := serve(t)
	at := " -brokers " + addr
	works(t, "", "topics create t -p 1"+at)
	kc, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.TransactionalID("x"), kgo.DefaultProduceTopic("t"))
	require.NoError(t, err)
	defer kc.Close()
	for value, end := range map[string]kgo.TransactionEndTry{"kept": kgo.TryCommit, "dropped": kgo.TryAbort} {
		require.NoError(t, kc.BeginTransaction())
		require.NoError(t, kc.ProduceSync(t.Context(), kgo.StringRecord(value)).FirstErr())
		require.NoError(t, kc.EndTransaction(t.Context(), end))
	}
	require.NoError(t, kc.BeginTransaction())
	require.NoError(t, kc.ProduceSync(t.Context(), kgo.StringRecord("open")).FirstErr())
	require.Equal(t, "kept\n", works(t, "", "consume t -e"+at))
	out := works(t, "", "consume t -e -uncommitted"+at)
	require.Equal(t, 3, strings.Count(out, "\n"), out)
	require.NoError(t, kc.EndTransaction(context.WithoutCancel(t.Context()), kgo.TryAbort))
}

func TestLargeAndBinaryValues(t *testing.T) {
	at := " -brokers " + serve(t)
	works(t, "", "topics create t -p 1"+at)
	large := strings.Repeat("x", 1<<20-200)
	works(t, large, "produce t -input value"+at)
	require.Equal(t, large+"\n", works(t, "", "consume t -e"+at))
	_, err := thalweg(t, large+large, "produce t -input value"+at)
	require.ErrorContains(t, err, "line 1: MESSAGE_TOO_LARGE")
	require.ErrorContains(t, err, "the topic takes batches of 1048588")
	works(t, "", "topics alter t -config max.message.bytes=5000000"+at)
	works(t, large+large, "produce t -input value"+at)
	works(t, "\xff\x00\n\xfe", "produce t -input value"+at)
	require.Equal(t, "\xff\x00\n\xfe", works(t, "", "consume t -e -from 2 -format %s"+at))
	require.Contains(t, works(t, "", "consume t -e -from 2 -o json"+at), `"value_base64":"/wAK/g=="`)
}

// What stands before a bad line is written.
func TestProduceStopsAtABadLine(t *testing.T) {
	at := " -brokers " + serve(t)
	works(t, "", "topics create t -p 1"+at)
	_, err := thalweg(t, "a:1\nb\nc:3\n", "produce t -k :"+at)
	require.ErrorContains(t, err, `line 2: no ":" between key and value`)
	require.Equal(t, "1\n", works(t, "", "consume t -e"+at))
}

// The line that is named is the first that was not written: those before it are, in other partitions, too.
func TestProduceWritesWhatStandsBeforeALineThatFails(t *testing.T) {
	at := " -brokers " + serve(t)
	for i := range 5 {
		topic := fmt.Sprint("t", i)
		works(t, "", "topics create "+topic+" -p 2"+at)
		large := strings.Repeat("x", 2<<20)
		in := `{"partition":1,"value":"a"}
{"partition":1,"value":"b"}
{"partition":0,"value":"` + large + `"}
{"partition":0,"value":"` + large + `"}
`
		_, err := thalweg(t, in, "produce "+topic+" -input json"+at)
		require.ErrorContains(t, err, "line 3: MESSAGE_TOO_LARGE")
		require.ErrorContains(t, err, "(2 of the ")
		require.Equal(t, "a\nb\n", works(t, "", "consume "+topic+" -e"+at))
	}
}

func TestTheFirstUnwrittenLine(t *testing.T) {
	u := unwritten{lines: map[int]error{}}
	for n := range 5 {
		u.add(n + 1)
	}
	u.remove(1)
	u.fail(4, errors.New("line 4: too large"))
	n, err := u.first(errLate)
	require.Equal(t, 2, n)
	require.EqualError(t, err, "line 2: not acknowledged within 5s")
	u.remove(2)
	u.remove(3)
	_, err = u.first(errLate)
	require.EqualError(t, err, "line 4: too large")
	u.remove(4)
	u.remove(5)
	n, err = u.first(errLate)
	require.Zero(t, n)
	require.NoError(t, err)
}

func TestConsumeATopicThatIsDeleted(t *testing.T) {
	b := serving(t)
	at := " -brokers " + b.Addr()
	works(t, "", "topics create t -p 1"+at)
	works(t, "a\n", "produce t"+at)
	deleted := make(chan error, 1)
	out := func(p []byte) (int, error) { // when the first record is out
		_, err := kadm.NewClient(brokertest.Client(t, b)).DeleteTopic(t.Context(), "t")
		deleted <- err
		return len(p), nil
	}
	_, err := running(t, nil, writerFunc(out), "consume t"+at)
	require.NoError(t, <-deleted)
	require.ErrorContains(t, err, "topic t: UNKNOWN_TOPIC_OR_PARTITION")
}

// An interrupted producer writes what it has read, though its input is open.
func TestInterruptedProduce(t *testing.T) {
	at := " -brokers " + serve(t)
	works(t, "", "topics create t -p 1"+at)
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer w.Close()
	_, err = w.WriteString("a\n")
	require.NoError(t, err)
	ctx, interrupt := context.WithCancel(t.Context())
	root := command()
	root.SetArgs(longFlags(root, strings.Fields("produce t"+at)))
	root.SetIn(r)
	done := make(chan error, 1)
	go func() { done <- root.ExecuteContext(ctx) }()
	require.Equal(t, "a\n", works(t, "", "consume t -n 1"+at))
	interrupt()
	require.NoError(t, <-done)
}

func TestSeeds(t *testing.T) {
	require.Equal(t, []string{"a:1", "b:2"}, seeds("a:1, b:2,"))
	require.Empty(t, seeds(" ,"))
}

func TestTopicsAsJSON(t *testing.T) {
	at := " -brokers " + serve(t)
	works(t, "", "topics create a b -p 2 -config retention.ms=1000"+at)
	var listed []string
	for line := range strings.Lines(works(t, "", "topics list -o json"+at)) {
		var topic struct {
			Topic      string
			Partitions int
		}
		require.NoError(t, json.Unmarshal([]byte(line), &topic))
		require.Equal(t, 2, topic.Partitions)
		listed = append(listed, topic.Topic)
	}
	require.Equal(t, []string{"a", "b"}, listed)
	var d describedTopic
	require.NoError(t, json.Unmarshal([]byte(works(t, "", "topics describe a -o json"+at)), &d))
	require.Equal(t, map[string]string{"retention.ms": "1000"}, d.Configs)
	require.Len(t, d.Partitions, 2)
}

// Each topic that is named gets a result, whatever became of those before it.
func TestAResultForEachTopic(t *testing.T) {
	at := " -brokers " + serve(t)
	works(t, "", "topics create b"+at)
	out, err := thalweg(t, "", "topics create a b c"+at)
	require.ErrorContains(t, err, "topic b: TOPIC_ALREADY_EXISTS")
	require.Equal(t, "created a\ncreated c\n", out)
	out, err = thalweg(t, "", "topics describe a x c y"+at)
	require.ErrorContains(t, err, "topic x: UNKNOWN_TOPIC_OR_PARTITION")
	require.ErrorContains(t, err, "topic y: UNKNOWN_TOPIC_OR_PARTITION")
	require.Equal(t, 2, strings.Count(out, "\tid "), out)
	out, err = thalweg(t, "", "topics alter a x c -config retention.ms=1000"+at)
	require.ErrorContains(t, err, "topic x: UNKNOWN_TOPIC_OR_PARTITION")
	require.Equal(t, "altered a\naltered c\n", out)
	out, err = thalweg(t, "", "topics delete a x c"+at)
	require.ErrorContains(t, err, "topic x: UNKNOWN_TOPIC_OR_PARTITION")
	require.Equal(t, "deleted a\ndeleted c\n", out)
}

func TestAlterTopics(t *testing.T) {
	at := " -brokers " + serve(t)
	works(t, "", "topics create a -p 1 -config retention.ms=1000 -config segment.ms=5000"+at)
	require.Equal(t, "altered a\n", works(t, "", "topics alter a -p 3 -config retention.ms=2000 -unset segment.ms"+at))
	out := works(t, "", "topics describe a"+at)
	require.Contains(t, out, "  retention.ms=2000\n")
	require.NotContains(t, out, "segment.ms")
	require.Contains(t, out, "  2          1       0      0\n")
	for line, want := range map[string]string{
		"topics alter a":            "alter: say what",
		"topics alter a -p 2":       "topic a: INVALID_PARTITIONS",
		"topics alter a -config x":  `-config "x": want KEY=VALUE`,
		"topics alter a -unset x.y": "topic a: ",
	} {
		_, err := thalweg(t, "", line+at)
		require.ErrorContains(t, err, want, line)
	}
}
