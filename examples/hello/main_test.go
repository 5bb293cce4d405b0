package main

import (
	"testing"

	"thalweg/stream/streamtest"
)

func TestWordsAreCounted(t *testing.T) {
	d := streamtest.New(t, must(build()), streamtest.Config{Partitions: 3})
	d.Input(Lines).Send("", "to be or not to be", 0)
	if n, _ := d.Get(ByWord, "be"); n != 2 {
		t.Errorf(`"be" is counted %d times, want 2`, n)
	}
}
