package broker

import (
	"math"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// mostOpenFiles is enough: a partition that is busy has two.
const mostOpenFiles = 16_384

// defaultOpenFiles leaves the other half of the process's files to connections and to the rest of the program.
func defaultOpenFiles(fs vfs.FS) int {
	if fs != vfs.Default {
		return math.MaxInt32
	}
	return int(min(max(openFilesMax()/2, 8), mostOpenFiles))
}
