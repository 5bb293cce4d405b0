package pebble

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2"

	"thalweg/state/internal/layout"
)

// removal is what to do where files are damaged. One engine has the stores of all tasks.
func removal(dir string) string {
	return fmt.Sprintf("remove the directory %s and start again: the stores of all tasks are restored from their "+
		"changelogs, and volatile stores start empty", dir)
}

// openRemedy is what helps where Pebble does not open a directory.
func openRemedy(dir string, err error) string {
	if full := spaceRemedy(err); full != "" {
		return full
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok && !errors.Is(errno, fs.ErrNotExist) ||
		strings.Contains(err.Error(), "lock held") {
		return ": is it in use by another process, can it be read and written, and is its disk sound? Where that does not " +
			"help, " + removal(dir)
	}
	return fmt.Sprintf(": the files of the state engine are damaged or incomplete%s: %s", filesIn(dir, err), removal(dir))
}

// fileInText finds the files that an error of Pebble's is about. It names a table by its number.
var fileInText = regexp.MustCompile(`(?:MANIFEST|OPTIONS)-\d+|L\d+: \d+|file \d+`)

// filesMost is how many files a text lists.
const filesMost = 4

// filesIn are the files that an error is about, as a part of a text; "": none is named.
func filesIn(dir string, err error) string {
	var files []string
	for _, name := range fileInText.FindAllString(err.Error(), -1) {
		if _, number, ok := strings.Cut(name, " "); ok {
			name = number + ".sst"
		}
		if name = dir + "/" + name; !slices.Contains(files, name) {
			files = append(files, name)
		}
	}
	if more := len(files) - filesMost; more > 0 {
		files = append(files[:filesMost], fmt.Sprintf("%d more", more))
	}
	if len(files) == 0 {
		return ""
	}
	return " (" + strings.Join(files, ", ") + ")"
}

// first is an error with its first line alone, where it has many: Pebble has one for each table.
func first(err error) error {
	text, rest, _ := strings.Cut(err.Error(), "\n")
	if rest == "" || IsFull(err) {
		return err
	}
	return errors.New(text)
}

// damaged is the error of a file that Pebble can't read, with the rows that it has.
func damaged(info pebble.DataCorruptionInfo) error {
	return fmt.Errorf("file %s%s: %w", info.Path, rowsBetween(info.Bounds.Start, info.Bounds.End.Key), info.Details)
}

// rowsBetween says whose rows lie between two keys, as a part of a text; "": that is not known.
func rowsBetween(lower, upper []byte) string {
	from, to := storeOf(lower), storeOf(upper)
	switch {
	case from == "" || to == "":
		return ""
	case from == to:
		return " with rows of " + from
	}
	return fmt.Sprintf(" with rows from %s to %s", from, to)
}

func storeOf(key []byte) string {
	partition, store, err := layout.SplitStore(key)
	switch {
	case err != nil:
		return ""
	case partition < 0:
		return "global store " + store
	}
	return fmt.Sprintf("store %s in partition %d", store, partition)
}
