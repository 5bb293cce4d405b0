package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// input is the files to be counted, in a fixed order.
type input struct {
	files []file
	bytes int64
}

type file struct {
	path string
	size int64
	time int64
}

// findInput lists the files of the given paths: a file is itself, a directory is all *.go below it, and no path at
// all is the source of the installed Go toolchain.
func findInput(ctx context.Context, paths []string) (*input, error) {
	if len(paths) == 0 {
		root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
		if err != nil {
			return nil, fmt.Errorf("go env GOROOT: %w: name the files to be counted", err)
		}
		paths = []string{filepath.Join(strings.TrimSpace(string(root)), "src")}
	}
	in := &input{}
	for _, p := range paths {
		if err := in.add(p); err != nil {
			return nil, fmt.Errorf("input: %w", err)
		}
	}
	if len(in.files) == 0 {
		return nil, fmt.Errorf("input: no *.go files below %s", strings.Join(paths, ", "))
	}
	slices.SortFunc(in.files, func(a, b file) int { return strings.Compare(a.path, b.path) })
	in.files = slices.CompactFunc(in.files, func(a, b file) bool { return a.path == b.path })
	for _, f := range in.files {
		in.bytes += f.size
	}
	return in, nil
}

func (in *input) add(path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		in.files = append(in.files, file{path, info.Size(), info.ModTime().UnixNano()})
		return nil
	}
	return filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || filepath.Ext(p) != ".go" {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		in.files = append(in.files, file{p, info.Size(), info.ModTime().UnixNano()})
		return nil
	})
}

// fingerprint tells one input from another.
func (in *input) fingerprint() string {
	h := fnv.New64a()
	for _, f := range in.files {
		fmt.Fprintln(h, f.path, f.size, f.time)
	}
	return fmt.Sprintf("%016x", h.Sum64())
}

// pieceBytesMax is the longest piece of a line that becomes one record; a longer line is cut between words.
const pieceBytesMax = 512 << 10

// lines are all lines of all files, in order. A piece is valid until the next one.
func (in *input) lines() iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, f := range in.files {
			if !eachLine(f.path, yield) {
				return
			}
		}
	}
}

func eachLine(path string, yield func([]byte, error) bool) (more bool) {
	f, err := os.Open(path)
	if err != nil {
		return yield(nil, fmt.Errorf("input: %w", err))
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, pieceBytesMax)
	var begun []byte // of a line that is cut
	for {
		line, err := r.ReadSlice('\n')
		if len(begun) > 0 {
			begun = append(begun, line...)
			line = begun
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			at := bytes.LastIndexAny(line, " \t")
			if at < 0 {
				return yield(nil, fmt.Errorf("input: %s: a word of more than %d bytes", path, pieceBytesMax))
			}
			if !yield(line[:at], nil) {
				return false
			}
			begun = bytes.Clone(line[at+1:])
			continue
		case errors.Is(err, io.EOF):
			return len(line) == 0 || yield(line, nil)
		case err != nil:
			return yield(nil, fmt.Errorf("input: %s: %w", path, err))
		}
		begun = begun[:0]
		if !yield(line[:len(line)-1], nil) {
			return false
		}
	}
}
