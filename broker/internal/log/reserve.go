package log

import (
	"math"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A segment has the file system set blocks aside for its next writes. Allocating many at once costs less than with each
// write (a fifth of the processor time of writing and syncing, on ext4) and keeps them together. The file's size does
// not change, and what is set aside and not used in the end stays so: that is why it ends at the segment's limit, and
// why a small segment does without. So do small writes, for which there is nothing to gain.
const (
	reserveFrom  = 4 << 20 // size of the segment
	reserveMost  = 16 << 20
	reserveWrite = 64 << 10 // size of a write
)

// reserve prepares a write of n bytes: where that goes beyond what is set aside it sets aside as much as the segment
// holds already, reserveMost at most. l.mu is held.
func (s *segment) reserve(file vfs.File, n, limit int64) {
	size := s.size.Load()
	if size < reserveFrom || n < reserveWrite || size+n <= s.ahead {
		return
	}
	from := max(s.ahead, size)
	length := min(size, reserveMost, limit-from)
	if length <= 0 {
		return
	}
	s.ahead = from + length
	if file.Preallocate(from, length) != nil {
		s.ahead = math.MaxInt64 // the file system can't, or the disk is nearly full, which a write will tell
	}
}

// keepAhead keeps blocks set aside for ahead bytes beyond a write of n, or half as many: appends of a few small records
// then succeed on a full disk. l.mu is held, or the log is being opened.
func (s *segment) keepAhead(file vfs.File, n, ahead int64) {
	end := s.size.Load() + n
	if ahead == 0 || s.stream == file || end+ahead/2 <= s.ahead {
		return
	}
	from := max(s.ahead, s.size.Load())
	s.ahead = end + ahead
	if file.Preallocate(from, s.ahead-from) != nil {
		s.ahead = math.MaxInt64
	}
}
