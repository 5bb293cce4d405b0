package runtime

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/internal/batch"
)

// Compression is how the batches of records are packed that an application or a [Client] writes. Whatever others write
// can be read.
type Compression uint8

// The compressions that Kafka knows. NoCompression is the fastest where the broker is near, LZ4 where the network is
// the limit; Zstd and Gzip make the smallest batches.
const (
	NoCompression Compression = iota
	Gzip
	Snappy
	LZ4
	Zstd
)

// String returns the name that Kafka's compression.type has for it.
func (c Compression) String() string {
	if c > Zstd {
		return fmt.Sprintf("compression(%d)", uint8(c))
	}
	return c.codec().String()
}

func (c Compression) codec() batch.Compression { return batch.Compression(c) }

// franz is the compression in franz-go's terms.
func (c Compression) franz() kgo.CompressionCodec {
	return [...]kgo.CompressionCodec{
		kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression(),
	}[c]
}
