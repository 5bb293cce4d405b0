package pebble

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Droppable are the files of tables that a Drop deletes. On a disk without any space even that can't be written down,
// so some must be free before.
type Droppable struct {
	fs      vfs.FS
	dir     string
	dead    []string // nothing refers to them: a crash has left them
	largest string   // of those whose rows all lie in the ranges; "": there is none
	bytes   int64    // of it
}

// Droppable looks for what a Drop of the ranges would delete.
func (e *Engine) Droppable(ranges ...Range) (d Droppable, err error) {
	if err := e.enter(); err != nil {
		return d, err
	}
	defer e.leave()
	levels, err := e.db.SSTables()
	if err != nil {
		return d, err
	}
	d.fs, d.dir = e.space.inner, e.dir
	stays := map[string]bool{}
	size := map[string]int64{}
	for _, t := range slices.Concat(levels...) {
		name := fmt.Sprintf("%06d.sst", uint64(t.BackingSSTNum))
		size[name] += int64(t.Size)
		stays[name] = stays[name] || !within(t, ranges)
	}
	names, err := d.fs.List(e.dir)
	if err != nil {
		return d, err
	}
	for _, name := range names {
		path := d.fs.PathJoin(e.dir, name)
		switch bytes, known := size[name]; {
		case !known && strings.HasSuffix(name, ".sst"):
			d.dead = append(d.dead, path)
		case known && !stays[name] && bytes > d.bytes:
			d.largest, d.bytes = path, bytes
		}
	}
	return d, nil
}

func within(t pebble.SSTableInfo, ranges []Range) bool {
	return slices.ContainsFunc(ranges, func(r Range) bool {
		return bytes.Compare(r.Lower, t.Smallest.UserKey) <= 0 && bytes.Compare(t.Largest.UserKey, r.Upper) < 0
	})
}

const (
	// metaShare is the part of a table, at its end, that is not rows: it is read when an engine opens.
	metaShare = 8
	// dropSpareBytes is what a Drop may write: a new manifest, options, and a marker or two.
	dropSpareBytes = 512 << 10
)

// Free makes sure that there is space for what a Drop writes. The reserve file counts. On a disk that is too full it
// deletes dead files. Where that is not enough, it gives the rows of one table back, which are lost then: the Drop has
// to follow. Close the engine before.
func (d Droppable) Free() error {
	if d.fits() {
		return nil
	}
	for _, path := range d.dead {
		if err := d.fs.Remove(path); err != nil {
			return err
		}
	}
	if d.largest == "" || d.fits() {
		return nil
	}
	f, err := d.fs.OpenReadWrite(d.largest, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	return errors.Join(punch(f.Fd(), d.bytes-d.bytes/metaShare), f.Close())
}

// fits tells whether the disk has space for a Drop. Where that is not known, the Drop finds out.
func (d Droppable) fits() bool {
	usage, err := d.fs.GetDiskUsage(d.dir)
	if err != nil {
		return true
	}
	left := int64(usage.AvailBytes)
	if info, err := d.fs.Stat(d.fs.PathJoin(d.dir, reserveFile)); err == nil {
		left += info.Size()
	}
	return left >= dropSpareBytes
}
