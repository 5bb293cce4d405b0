package main

import (
	"bytes"
	"testing"
)

// The whole program on the bundled broker. A second run goes on from the first.
func TestDemonstration(t *testing.T) {
	o := options{dir: t.TempDir()}
	for _, want := range []string{
		"   2  be\n   1  is\n   1  not\n   1  or\n   1  question\n   1  that\n   1  the\n   2  to\n",
		"   4  be\n   2  is\n   2  not\n   2  or\n   2  question\n   2  that\n   2  the\n   4  to\n",
	} {
		var out bytes.Buffer
		if err := run(t.Context(), o, &out); err != nil {
			t.Fatal(err)
		}
		if out.String() != want {
			t.Errorf("printed:\n%s\nwant:\n%s", out.String(), want)
		}
	}
}
