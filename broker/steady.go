package broker

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// timeFile has the steady clock's time in milliseconds, and a checksum of it, as text. Without it, ages begin where the
// last append left them: a broker that restarts all the time while its clock is behind would count nothing.
const timeFile = "TIME"

const (
	timeDigits = 20
	timeBytes  = timeDigits + 1 + 8 + 1 // digits, space, checksum, end of the line
	// timeEnd is later than any time that a clock shows. Once the steady clock is there it does not go back, and all that
	// was appended before is old.
	timeEnd = 10_000_000_000_000
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// timeText is what the file has at a time.
func timeText(t time.Time) []byte {
	digits := fmt.Appendf(nil, "%0*d", timeDigits, t.UnixMilli())
	return fmt.Appendf(digits, " %08x\n", crc32.Checksum(digits, castagnoli))
}

// parseTime is the inverse of timeText. Earlier versions wrote no checksum.
func parseTime(content []byte) (time.Time, error) {
	line, _, whole := bytes.Cut(content, []byte{'\n'})
	digits, _, checked := bytes.Cut(line, []byte{' '})
	ms, err := strconv.ParseInt(string(digits), 10, 64)
	switch t := time.UnixMilli(ms); {
	case !whole || err != nil || len(digits) != timeDigits || ms < 0 || digits[0] != '0':
		return time.Time{}, errors.New("it is not a line that begins with 20 digits")
	case checked && !bytes.Equal(timeText(t), append(line, '\n')):
		return time.Time{}, errors.New("its checksum is wrong")
	case ms >= timeEnd:
		return time.Time{}, fmt.Errorf("it is in the year %d", t.UTC().Year())
	default:
		return t, nil
	}
}

// readTime reads what the file has: nothing in a new one.
func readTime(f vfs.File) (t time.Time, err error) {
	content := make([]byte, timeBytes)
	n, err := f.ReadAt(content, 0)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return t, err
	case n == 0:
		return t, nil
	}
	return parseTime(content[:n])
}

// loadTime has the steady clock continue from where it was. What keeps the file from being read or written keeps nobody
// from working: the last append is nearly as good.
func (b *broker) loadTime() {
	path := b.cfg.FS.PathJoin(b.cfg.Dir, timeFile)
	f, err := b.cfg.FS.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		b.cfg.Logger.Warn("broker: the time is not kept over restarts", "err", err)
		return
	}
	b.timeFile = f
	t, err := readTime(f)
	if err != nil {
		b.cfg.Logger.Warn("broker: this file should hold the time up to which ages were counted, and does not: they "+
			"continue from the last append, and it is written again", "file", path, "err", err)
		return
	}
	if !t.IsZero() {
		b.steady.Raise(t)
	}
}

// keepTime notes the steady clock's time, always in the same few bytes.
func (b *broker) keepTime() {
	if b.timeFile != nil {
		_, _ = b.timeFile.WriteAt(b.timeText(), 0)
	}
}

// timeText is what the file has now.
func (b *broker) timeText() []byte { return timeText(b.steady.Now()) }

// stopTime is the end of the steady clock.
func (b *broker) stopTime() error {
	b.keepTime()
	b.steady.Stop()
	if b.timeFile == nil {
		return nil
	}
	return b.timeFile.Close()
}
