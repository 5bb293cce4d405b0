package streamtest

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

var update = flag.Bool("streamtest.update", false, "write golden files instead of comparing with them")

// Golden compares lines with those of a file and prints the difference, if there is one. A test that is run with the
// flag -streamtest.update writes the file.
//
//	streamtest.Golden(t, "testdata/counts.golden", d.Output(Counts).ReadStrings()...)
func Golden(t TB, file string, lines ...string) {
	t.Helper()
	got := strings.Join(lines, "\n") + "\n"
	if *update {
		if err := writeGolden(file, got); err != nil {
			t.Fatalf("streamtest: golden file: %v", err)
		}
		return
	}
	want, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		t.Fatalf("streamtest: there is no golden file %s: run the test with -streamtest.update to write it, and read it",
			file)
	case err != nil:
		t.Fatalf("streamtest: golden file: %v", err)
	case string(want) != got:
		t.Errorf("streamtest: not as in %s (- in the file, + now; -streamtest.update writes the file):\n%s", file,
			difference(string(want), got))
	}
}

func writeGolden(file, text string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(text), 0o644)
}

// linesAround is how many equal lines are printed before and after a difference.
const linesAround = 3

// difference prints the lines of two texts that differ, with some equal ones around them and their numbers in want.
func difference(want, got string) string {
	edits := compare(strings.Split(want, "\n"), strings.Split(got, "\n"))
	near := make([]bool, len(edits))
	for i, e := range edits {
		for j := max(i-linesAround, 0); e.mark != ' ' && j < min(i+linesAround+1, len(edits)); j++ {
			near[j] = true
		}
	}
	var b strings.Builder
	for i, e := range edits {
		switch {
		case !near[i]:
			continue
		case i == 0 || !near[i-1]:
			fmt.Fprintf(&b, "line %d:\n", e.line+1)
		}
		text := e.text
		if e.mark != ' ' && text != strings.TrimSpace(text) {
			text = fmt.Sprintf("%q", text) // spaces at an end are not seen otherwise
		}
		fmt.Fprintf(&b, "  %c %s\n", e.mark, text)
	}
	return b.String()
}

// edit is a line that both texts have (' '), or the first ('-') or the second ('+') alone.
type edit struct {
	mark byte
	line int // of the first text, from 0
	text string
}

// compareCellsMax bounds the memory for comparing; beyond it all lines between the first and the last difference count
// as changed.
const compareCellsMax = 4 << 20

// compare finds the fewest lines to take out and put in.
func compare(a, b []string) (edits []edit) {
	head, tail := 0, 0
	for head < min(len(a), len(b)) && a[head] == b[head] {
		edits = append(edits, edit{' ', head, a[head]})
		head++
	}
	for tail < min(len(a), len(b))-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	edits = append(edits, between(a[head:len(a)-tail], b[head:len(b)-tail], head)...)
	for i := len(a) - tail; i < len(a); i++ {
		edits = append(edits, edit{' ', i, a[i]})
	}
	return edits
}

// between compares by the longest common subsequence.
func between(a, b []string, line int) (edits []edit) {
	width := len(b) + 1
	common := make([]int32, 1) // [i*width+j] is the length of that of a[i:] and b[j:]
	if (len(a)+1)*width <= compareCellsMax {
		common = make([]int32, (len(a)+1)*width)
		for i := len(a) - 1; i >= 0; i-- {
			for j := len(b) - 1; j >= 0; j-- {
				if a[i] == b[j] {
					common[i*width+j] = common[(i+1)*width+j+1] + 1
				} else {
					common[i*width+j] = max(common[(i+1)*width+j], common[i*width+j+1])
				}
			}
		}
	}
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j] && len(common) > 1:
			edits = append(edits, edit{' ', line + i, a[i]})
			i, j = i+1, j+1
		case i < len(a) && (j == len(b) || len(common) == 1 || common[(i+1)*width+j] >= common[i*width+j+1]):
			edits = append(edits, edit{'-', line + i, a[i]})
			i++
		default:
			edits = append(edits, edit{'+', line + i, b[j]})
			j++
		}
	}
	return edits
}
