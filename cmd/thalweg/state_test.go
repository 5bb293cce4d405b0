package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/broker/brokertest"
	wordcount "thalweg/examples/wordcount/program"
	"thalweg/runtime"
	"thalweg/state"
)

func TestState(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cfg := runtime.Config{
		ApplicationID: "wc", Broker: brokertest.New(t), State: runtime.StateConfig{Dir: t.TempDir()}, Workers: 1,
	}
	dir := filepath.Join(cfg.State.Dir, "wc")
	client, err := runtime.NewClient(cfg)
	require.NoError(t, err)
	defer client.Close()
	count := func(p wordcount.Program, during func(*runtime.App)) {
		topo, err := p.Build()
		require.NoError(t, err)
		app, err := runtime.New(topo, cfg)
		require.NoError(t, err)
		require.NoError(t, app.RunDuring(ctx, func(ctx context.Context) error {
			for i := range 100 {
				if err := client.Put(ctx, p.Lines, "", fmt.Sprintf("word%d other%d", i, i)); err != nil {
					return err
				}
			}
			if err := app.WaitCaughtUp(ctx); err != nil {
				return err
			}
			during(app)
			return nil
		}))
	}
	p := wordcount.New("wc")
	count(p, func(*runtime.App) {
		_, err := thalweg(t, "", "state list "+dir)
		require.ErrorContains(t, err, "in use by this process")
	})
	_, err = thalweg(t, "", "state list "+cfg.State.Dir)
	require.ErrorContains(t, err, "it is one of "+dir)
	_, err = thalweg(t, "", "state list "+dir+"-not")
	require.ErrorContains(t, err, "no such file")
	require.NoDirExists(t, dir+"-not")

	rows := func(line string) [][]string {
		var cells [][]string
		for l := range strings.Lines(works(t, "", line)) {
			cells = append(cells, strings.Fields(l))
		}
		return cells
	}
	list := rows("state list " + dir)
	require.Len(t, list, 5)
	require.Equal(t, []string{"store", "partition", "task", "kind", "rows"}, list[0][:5])
	for i, row := range list[1:] {
		require.Equal(t, []string{"by-word", fmt.Sprint(i), fmt.Sprintf("1_%d", i)}, row[:3])
		require.NotEqual(t, "-", row[len(row)-1], "last used")
	}
	var first localStore
	asJSON := works(t, "", "state list -o json "+dir)
	require.NoError(t, json.Unmarshal([]byte(strings.SplitN(asJSON, "\n", 2)[0]), &first))
	require.Equal(t, []string{"by-word", "1_0", "wc-by-word-changelog"}, []string{first.Store, first.Task, first.Topic})
	require.Equal(t, 4, strings.Count(asJSON, "\n"))
	for line, want := range map[string]string{
		"state drop " + dir:                          "say what",
		"state drop " + dir + " nothing":             `no store "nothing"`,
		"state drop " + dir + " -unused-for -1s":     "want a positive duration",
		"state drop " + dir + "-not -gone":           "no such file",
		"state list " + dir + " what":                "accepts 1 arg",
		"state drop " + cfg.State.Dir + " -task 1_0": "it is one of",
	} {
		_, err := thalweg(t, "", line)
		require.ErrorContains(t, err, want, line)
	}
	require.Equal(t, "nothing to drop\n", works(t, "", "state drop "+dir+" -gone"))
	require.Equal(t, "nothing to drop\n", works(t, "", "state drop "+dir+" -unused-for 1h"))
	require.Len(t, rows("state drop "+dir+" -task 1_2 by-word"), 3)
	require.Len(t, rows("state drop "+dir+" -task 1_0,1_2,1_3 by-word"), 4)
	require.Len(t, rows("state list "+dir), 2)

	p.ByWord = state.NewKV[string, int64]("by-word-2")
	count(p, func(*runtime.App) {})
	require.Len(t, rows("state list "+dir), 1+1+4)
	dropped := rows("state drop " + dir + " -gone")
	require.Len(t, dropped, 2+1)
	for _, row := range dropped[2:] {
		require.Equal(t, []string{"by-word", "gone"}, []string{row[0], row[2]})
	}
	require.Len(t, rows("state drop "+dir+" by-word-2"), 2+4)
	require.Len(t, rows("state list "+dir), 1)
}
