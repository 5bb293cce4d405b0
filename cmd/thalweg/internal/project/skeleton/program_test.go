package main

import (
	"testing"

	"thalweg/stream/streamtest"
)

// The driver runs the production code of a task, in memory, on several partitions and on a clock that the test moves.
func TestWordsAreCounted(t *testing.T) {
	topo, err := Build()
	if err != nil {
		t.Fatal(err)
	}
	d := streamtest.New(t, topo, streamtest.Config{Partitions: 3})
	lines := d.Input(Lines)
	lines.Send("", "To be or not to be", 0)
	lines.Send("", "That is the question", 1)
	d.Restart(streamtest.LoseState) // what is lost comes back from the changelog
	lines.Send("", "to be", 2)
	for word, want := range map[string]int64{"to": 3, "be": 3, "question": 1} {
		if got, _ := d.Get(ByWord, word); got != want {
			t.Errorf("%q is counted %d times, want %d", word, got, want)
		}
	}
	if got := streamtest.Latest(d.Output(Counts))["be"]; got != 3 {
		t.Errorf("the last count of \"be\" is %d, want 3", got)
	}
}
