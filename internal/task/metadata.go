package task

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"

	"thalweg/topology"
)

const (
	metadataVersion    = 1
	metadataVersionMap = 2 // with a map of processor metadata behind
	metadataBytes      = 9
)

// encodeMetadata makes the metadata of a committed offset.
func encodeMetadata(partitionTime int64) string {
	var b [metadataBytes]byte
	b[0] = metadataVersion
	binary.BigEndian.PutUint64(b[1:], uint64(partitionTime))
	return base64.StdEncoding.EncodeToString(b[:])
}

// decodeMetadata reads the partition time. Metadata that is empty has none.
func decodeMetadata(metadata string) (partitionTime int64, err error) {
	if metadata == "" {
		return topology.Unknown, nil
	}
	b, err := base64.StdEncoding.DecodeString(metadata)
	if err != nil {
		return 0, fmt.Errorf("offset metadata %q: %w", metadata, err)
	}
	if len(b) < metadataBytes || (b[0] != metadataVersion && b[0] != metadataVersionMap) {
		return 0, fmt.Errorf("offset metadata %q: not of version %d or %d: the group is used by something else",
			metadata, metadataVersion, metadataVersionMap)
	}
	return int64(binary.BigEndian.Uint64(b[1:])), nil
}
