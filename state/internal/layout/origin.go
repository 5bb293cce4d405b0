package layout

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// PositionRow is what a position row says of a store:
//
//	offset 8 │ version 1 = 3 │ synced 8 │ origin
//
// The origin may be missing. Version 2 has no names of formats, version 1 no time either, and version 1 of the layout
// has the offset alone.
type PositionRow struct {
	Offset int64 // -1: there is none
	Synced int64 // when the store last had all that its topic had, milliseconds since the epoch; 0: not known
	Origin *Origin
}

// Origin is what a position counts in, and what the store's rows are:
//
//	kind 1 │ format 1 │ filling 1 │ topic id 16
//	length uvarint, topic │ length uvarint, cluster │ length uvarint, application
//	length uvarint, format of keys │ length uvarint, format of values
//
// An id of zeros, a cluster without a name and a format without one are not known.
type Origin struct {
	Kind, Format, Filling       uint8
	TopicID                     [16]byte
	Topic, Cluster, Application string
	Keys, Values                string
}

// texts are the fields with a length, in their order, as far as a version has them.
func (o *Origin) texts(version byte) []*string {
	texts := []*string{&o.Topic, &o.Cluster, &o.Application, &o.Keys, &o.Values}
	if version < positionVersion {
		return texts[:3]
	}
	return texts
}

const (
	positionVersion = 3
	positionUnnamed = 2 // has no names of formats
	positionUntimed = 1 // has no time
	originFixed     = 3 + 16
)

// AppendPositionRow appends the value of a position row.
func AppendPositionRow(dst []byte, p PositionRow) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(p.Offset))
	dst = binary.BigEndian.AppendUint64(append(dst, positionVersion), uint64(p.Synced))
	o := p.Origin
	if o == nil {
		return dst
	}
	dst = append(append(dst, o.Kind, o.Format, o.Filling), o.TopicID[:]...)
	for _, s := range o.texts(positionVersion) {
		dst = append(binary.AppendUvarint(dst, uint64(len(*s))), *s...)
	}
	return dst
}

var errPosition = errors.New("position row: it is cut off, or has something behind it")

// ReadPositionRow reads the value of a position row.
func ReadPositionRow(src []byte) (p PositionRow, err error) {
	if len(src) < 8 {
		return p, errPosition
	}
	p.Offset = int64(binary.BigEndian.Uint64(src))
	if src = src[8:]; len(src) == 0 {
		return p, nil
	}
	version := src[0]
	switch src = src[1:]; {
	case version == positionUntimed:
		p.Origin, err = origin(src, version)
		return p, err
	case version != positionVersion && version != positionUnnamed:
		return PositionRow{}, fmt.Errorf("position row: it has version %d, this program knows version %d", version,
			positionVersion)
	case len(src) < 8:
		return PositionRow{}, errPosition
	}
	p.Synced = int64(binary.BigEndian.Uint64(src))
	if src = src[8:]; len(src) > 0 {
		p.Origin, err = origin(src, version)
	}
	return p, err
}

func origin(src []byte, version byte) (*Origin, error) {
	if len(src) < originFixed {
		return nil, errPosition
	}
	o := &Origin{Kind: src[0], Format: src[1], Filling: src[2], TopicID: [16]byte(src[3:])}
	src = src[originFixed:]
	for _, s := range o.texts(version) {
		size, n := binary.Uvarint(src)
		if n <= 0 || size > uint64(len(src)-n) {
			return nil, errPosition
		}
		*s, src = string(src[n:n+int(size)]), src[n+int(size):]
	}
	if len(src) > 0 {
		return nil, errPosition
	}
	return o, nil
}
