package pebble

import (
	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
)

// What a table looks like. docs/adr/0008-tables-of-the-state-engine.md has the figures that decided.
const (
	blockBytes       = 8 << 10
	filterBitsPerKey = 10
	indexBytes       = 256 << 10 // of a table; a larger index has two levels, which costs a block more for each read
)

// setTables sets what new tables look like. Tables in an older form stay readable. Most rows lie in the bottom level,
// and only there are blocks compressed: what lies above is rewritten soon.
func setTables(o *pebble.Options) {
	bottom := len(o.Levels) - 1
	for i := range o.Levels {
		o.Levels[i] = pebble.LevelOptions{
			BlockSize: blockBytes, IndexBlockSize: indexBytes,
			FilterPolicy: bloom.FilterPolicy(filterBitsPerKey), Compression: uncompressed,
		}
	}
	o.Levels[bottom].Compression = fast
}

func uncompressed() *sstable.CompressionProfile { return sstable.NoCompression }

// fast is MinLZ where that is faster than Snappy.
func fast() *sstable.CompressionProfile { return sstable.FastestCompression }
