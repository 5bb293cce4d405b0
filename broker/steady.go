package broker

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// timeFile has the steady clock's time in milliseconds, as text. Without it, ages begin where the last append left
// them: a broker that restarts all the time while its clock is behind would count nothing.
const timeFile = "TIME"

// loadTime has the steady clock go on from where it was. What keeps the file from being read or written keeps nobody
// from working: the last append is nearly as good.
func (b *broker) loadTime() {
	f, err := b.cfg.FS.OpenReadWrite(b.cfg.FS.PathJoin(b.cfg.Dir, timeFile), vfs.WriteCategoryUnspecified)
	if err != nil {
		b.cfg.Logger.Warn("broker: the time is not kept over restarts", "err", err)
		return
	}
	b.timeFile = f
	content := make([]byte, 32)
	n, err := f.ReadAt(content, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return
	}
	if ms, err := strconv.ParseInt(strings.TrimSpace(string(content[:n])), 10, 64); err == nil {
		b.steady.Raise(time.UnixMilli(ms))
	}
}

// keepTime notes the steady clock's time, always in the same few bytes.
func (b *broker) keepTime() {
	if b.timeFile != nil {
		_, _ = b.timeFile.WriteAt(b.timeText(), 0)
	}
}

// timeText is what the file has now.
func (b *broker) timeText() []byte { return fmt.Appendf(nil, "%020d\n", b.steady.Now().UnixMilli()) }

// stopTime is the end of the steady clock.
func (b *broker) stopTime() error {
	b.keepTime()
	b.steady.Stop()
	if b.timeFile == nil {
		return nil
	}
	return b.timeFile.Close()
}
