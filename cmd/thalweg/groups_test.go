package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/broker/brokertest"
	wordcount "thalweg/examples/wordcount/program"
	"thalweg/runtime"
)

// fields are the cells of a table.
func fields(out string) (rows [][]string) {
	for line := range strings.Lines(out) {
		rows = append(rows, strings.Fields(line))
	}
	return rows
}

func TestGroups(t *testing.T) {
	b := serving(t)
	at := " -brokers " + b.Addr()
	works(t, "", "topics create t -p 2"+at)
	works(t, "a\nb\nc\n", "produce t -p 0 -timestamp 2026-01-01"+at)
	works(t, "d\n", "produce t -p 0 -timestamp 2026-01-02"+at)
	works(t, "e\n", "produce t -p 1 -timestamp 2026-01-02"+at)

	member := brokertest.Client(t, b, kgo.ConsumerGroup("g"), kgo.ConsumeTopics("t"), kgo.DisableAutoCommit(),
		kgo.ClientID("reader"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	for seen := 0; seen < 5; {
		fetched := member.PollFetches(t.Context())
		require.NoError(t, fetched.Err())
		seen += fetched.NumRecords()
	}
	require.NoError(t, member.CommitUncommittedOffsets(t.Context()))
	require.Equal(t, "g  Stable  consumer\n", works(t, "", "groups list"+at))
	require.JSONEq(t, `{"group":"g","state":"Stable","protocol_type":"consumer"}`, works(t, "", "groups list -o json"+at))
	out := works(t, "", "groups describe g"+at)
	require.Contains(t, out, "g\tStable, 1 members, coordinator 1, protocol cooperative-sticky\n")
	require.Contains(t, out, "t 0,1")
	var d describedGroup
	require.NoError(t, json.Unmarshal([]byte(works(t, "", "groups describe g -o json"+at)), &d))
	require.Equal(t, "reader", d.Members[0].Client)
	require.Equal(t, map[string][]int32{"t": {0, 1}}, d.Members[0].Partitions)
	for _, line := range []string{
		"groups reset g -to earliest", "groups reset g -to latest -topic t", "groups delete g", "app reset g",
	} {
		_, err := thalweg(t, "", line+at)
		require.ErrorContains(t, err, "group g", line)
		require.ErrorContains(t, err, "members", line)
		if !strings.HasPrefix(line, "groups delete") {
			require.ErrorContains(t, err, "stop reader at 127.0.0.1", line)
		}
	}
	rows := fields(works(t, "", "groups lag g"+at))
	require.Equal(t, []string{"g", "t", "0", "4", "4", "0"}, rows[1][:6])
	member.Close()

	rows = fields(works(t, "", "groups lag g"+at))
	require.Equal(t, [][]string{{"g", "t", "0", "4", "4", "0", "-"}, {"g", "t", "1", "1", "1", "0", "-"}}, rows[1:])
	for _, try := range []struct{ how, from0, to0, from1, to1 string }{
		{"-to earliest", "4", "0", "1", "0"},
		{"-to latest", "0", "4", "0", "1"},
		{"-to 2", "4", "2", "1", "1"},
		{"-shift 1", "2", "3", "1", "1"},
		{"-shift -2", "3", "1", "1", "0"},
		{"-to 2026-01-01T12:00:00", "1", "3", "0", "0"},
		{"-to 1h", "3", "4", "0", "1"},
		{"-to -1", "4", "3", "1", "0"},
	} {
		want := [][]string{{"t", "0", try.from0, try.to0}, {"t", "1", try.from1, try.to1}}
		dry := fields(works(t, "", "groups reset g -dry-run "+try.how+at))
		require.Equal(t, want, dry[1:3], try.how)
		require.Equal(t, want, fields(works(t, "", "groups reset g "+try.how+at))[1:], try.how)
	}
	require.JSONEq(t, `{"group":"g","topic":"t","partition":1,"from":0,"to":1}`,
		works(t, "", "groups reset g -to latest -topic t:1 -o json"+at))
	require.JSONEq(t, `{"group":"h","topic":"t","partition":0,"from":null,"to":4}`,
		works(t, "", "groups reset h -to latest -topic t:0 -o json"+at), "a group that is not there yet")
	require.Equal(t, "d\n", works(t, "", "consume t -group g -n 1"+at))
	lines := works(t, "", "groups lag g h -o json"+at)
	require.Contains(t, lines, `{"group":"g","topic":"t","partition":0,"committed":4,"end":4,"lag":0}`+"\n")

	for range 20 { // in the order of the arguments, and nothing is left out
		var order []string
		for _, row := range fields(works(t, "", "groups lag h g"+at))[1:] {
			order = append(order, row[0])
		}
		require.Equal(t, []string{"h", "h", "g", "g"}, order)
		out, err := thalweg(t, "", "groups lag g x"+at)
		require.EqualError(t, err, "group x: GROUP_ID_NOT_FOUND: The group id does not exist; thalweg groups list shows "+
			"which there are")
		require.Len(t, fields(out), 3)
	}

	for line, want := range map[string]string{
		"groups describe x":                  "group x: GROUP_ID_NOT_FOUND",
		"groups lag x":                       "group x: GROUP_ID_NOT_FOUND",
		"groups delete x":                    "group x: GROUP_ID_NOT_FOUND",
		"groups reset x -to latest":          "group x: GROUP_ID_NOT_FOUND",
		"groups reset g":                     "say where to, by -to or by -shift",
		"groups reset g -to 1 -shift 1":      "say where to, by -to or by -shift",
		"groups reset g -to soon":            `-to "soon": want earliest`,
		"groups reset g -to 1 -topic x":      "topic x: UNKNOWN_TOPIC_OR_PARTITION",
		"groups reset g -to 1 -topic t:2":    "topic t has no partition 2",
		"groups reset g -to 1 -topic t:x":    "want TOPIC or TOPIC:0,1",
		"groups reset h -shift 1 -topic t:1": "group h has no offset to shift in topic t partition 1",
		"groups describe":                    "requires at least 1 arg",
	} {
		_, err := thalweg(t, "", line+at)
		require.ErrorContains(t, err, want, line)
	}
	out, err := thalweg(t, "", "groups delete g x h"+at)
	require.ErrorContains(t, err, "group x: GROUP_ID_NOT_FOUND")
	require.Equal(t, "deleted g\ndeleted h\n", out)
}

// Only what the broker says is gone is told to be.
func TestDeletedGroups(t *testing.T) {
	var out bytes.Buffer
	gone := kadm.DeleteGroupResponses{"a": {}, "b": {Err: kerr.NonEmptyGroup}}
	err := printDeleted(&out, []string{"a", "b", "c"}, gone, kerr.CoordinatorNotAvailable)
	require.Equal(t, "deleted a\n", out.String())
	require.ErrorContains(t, err, "group b: NON_EMPTY_GROUP")
	require.ErrorContains(t, err, "group c: COORDINATOR_NOT_AVAILABLE")
	require.ErrorContains(t, printDeleted(&out, []string{"c"}, gone, nil), "group c: the broker's answer says nothing")
}

// counting is an application that counts words on a broker that the command line reaches.
type counting struct {
	t   *testing.T
	cfg runtime.Config
	p   wordcount.Program
}

// run processes what is there and returns the counts of its table.
func (c counting) run(during func(*runtime.App)) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	topo, err := c.p.Build()
	require.NoError(c.t, err)
	app, err := runtime.New(topo, c.cfg)
	require.NoError(c.t, err)
	require.NoError(c.t, app.RunDuring(ctx, func(ctx context.Context) error {
		if err := app.WaitRunning(ctx); err != nil {
			return err
		}
		if err := app.WaitCaughtUp(ctx); err != nil {
			return err
		}
		during(app)
		return nil
	}))
}

func TestAppReset(t *testing.T) {
	b := serving(t)
	at := " -brokers " + b.Addr()
	c := counting{t, runtime.Config{
		ApplicationID: "wc", Broker: b,
		State:   runtime.StateConfig{Dir: t.TempDir()},
		Workers: 1, Logger: slog.New(slog.DiscardHandler),
	}, wordcount.New("wc")}
	dir := filepath.Join(c.cfg.State.Dir, "wc")
	works(t, "", "topics create "+c.p.Lines.Name()+" wc-other -p 2"+at)
	send := func() { works(t, "one\n", "produce "+c.p.Lines.Name()+" -p 0 -timestamp 1000"+at) }
	last := func() string {
		lines := strings.Fields(works(t, "", "consume "+c.p.Counts.Name()+" -e -longs -k :"+at))
		return lines[len(lines)-1]
	}
	send()
	c.run(func(*runtime.App) {
		_, err := thalweg(t, "", "app reset wc"+at)
		require.ErrorContains(t, err, "group wc has members, and nothing was changed: stop ")
	})
	require.Equal(t, "one:1", last())
	// An application of Kafka Streams lists its topics nowhere: it has a group.
	works(t, "", "topics create wc-v2-x-changelog wc-v3-x-changelog -p 1"+at)
	works(t, "", "groups reset wc-v2 -to 0 -topic wc-other"+at)
	topics := works(t, "", "topics list"+at)

	dry := works(t, "", "app reset wc -dry-run -state-dir "+c.cfg.State.Dir+at)
	require.Contains(t, dry, "left topic wc-v2-x-changelog, which may be another application's\n")
	require.Contains(t, dry, "would delete topic wc-v3-x-changelog\n")
	require.NotContains(t, dry, "delete topic wc-v2")
	require.Equal(t, topics, works(t, "", "topics list"+at), "a dry run")
	require.DirExists(t, dir)
	require.Contains(t, dry, "would delete the committed offsets of wc\n")
	require.Contains(t, dry, "would delete topic wc-by-word-changelog\n")
	require.Contains(t, dry, "would delete topic wc-progress\n")
	require.Contains(t, dry, "would delete directory "+dir+"\n")
	require.Contains(t, dry, "dry run: nothing was changed\n")
	c.run(func(*runtime.App) {}) // it goes on as before
	require.Equal(t, "one:1", last())

	// It reads its input again, without the rows that it had.
	out := works(t, "", "app reset wc -state-dir "+c.cfg.State.Dir+at)
	require.Contains(t, out, "deleted topic wc-by-word-changelog\n")
	require.NoDirExists(t, dir)
	require.NotContains(t, works(t, "", "topics list"+at), "wc-by-word")
	require.Contains(t, works(t, "", "topics list"+at), "wc-other")
	require.Contains(t, works(t, "", "topics list"+at), "wc-v2-x-changelog")
	require.NotContains(t, works(t, "", "topics list"+at), "wc-v3-x-changelog")
	works(t, "", "groups delete wc-v2"+at)
	works(t, "", "topics delete wc-v2-x-changelog"+at)
	require.NotContains(t, works(t, "", "groups list"+at), "wc")
	c.run(func(*runtime.App) {})
	require.Equal(t, "one:1", last())

	// Local state that stays is noticed.
	require.Contains(t, works(t, "", "app reset wc"+at), "left the directories of local state")
	require.DirExists(t, dir)
	send()
	c.run(func(*runtime.App) {})
	require.Equal(t, "one:2", last())

	// It begins elsewhere, without state.
	out = works(t, "", "app reset wc -to latest -state-dir "+c.cfg.State.Dir+at)
	require.Contains(t, out, fmt.Sprintf("begins at offset 2 of topic %s partition 0\n", c.p.Lines.Name()))
	send()
	c.run(func(*runtime.App) {})
	require.Equal(t, "one:1", last())
	out = works(t, "", "app reset wc -to 1970-01-02 -dry-run"+at)
	require.Contains(t, out, "would begin at offset 3 of topic "+c.p.Lines.Name()+" partition 0\n")

	works(t, "", "app reset wc -state-dir "+c.cfg.State.Dir+at)
	for line, want := range map[string]string{
		"app reset wc": "application wc: there are no offsets and no topics of it",
		"app reset wc -to latest -state-dir " + c.cfg.State.Dir: "application wc: there are no offsets",
		"app reset wc -to soon":                                 `-to "soon": want earliest`,
		"app reset wc -input x":                                 "-input: say where to begin in it, by -to",
		"app reset wc -state-dir " + dir + "-not":               "no such file",
		"app reset a/b":                                         "no application id",
		"app reset .. -dry-run":                                 "no application id",
	} {
		_, err := thalweg(t, "", line+at)
		require.ErrorContains(t, err, want, line)
	}
	out = works(t, "", "app reset new -to 1 -input "+c.p.Lines.Name()+" -dry-run"+at)
	require.Contains(t, out, "would begin at offset 1")
}
