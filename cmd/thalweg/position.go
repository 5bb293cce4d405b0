package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// position is a place in a partition, as a flag names it.
type position struct {
	kind positionKind
	n    int64 // an offset, how many offsets before the end, or milliseconds since 1970
}

type positionKind uint8

const (
	atStart positionKind = iota
	atEnd
	atOffset
	beforeEnd
	atTime
)

// positionHelp says what positions there are.
const positionHelp = "earliest, latest, an offset, -N (N offsets before the end; transaction markers count), a time " +
	"such as 2026-01-31T08:00:00Z, or a duration such as 90m (so long ago)"

var timeLayouts = [...]string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateTime, time.DateOnly}

// parsePosition reads the value of a flag. Times without a zone are local.
func parsePosition(flag, s string, now time.Time) (position, error) {
	switch s {
	case "earliest", "beginning":
		return position{kind: atStart}, nil
	case "latest", "end":
		return position{kind: atEnd}, nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		if strings.HasPrefix(s, "-") {
			return position{beforeEnd, -n}, nil
		}
		return position{atOffset, n}, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return position{atTime, max(0, now.Add(-d).UnixMilli())}, nil
	}
	if t, err := parseTime(s); err == nil {
		return position{atTime, max(0, t.UnixMilli())}, nil // below 0 it would not be a time
	}
	return position{}, fmt.Errorf("-%s %q: want %s", flag, s, positionHelp)
}

func parseTime(s string) (t time.Time, err error) {
	for _, layout := range timeLayouts {
		if t, err = time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return t, err
}

// offset is the position for a consumer.
func (p position) offset() kgo.Offset {
	o := kgo.NewOffset()
	switch p.kind {
	case atEnd:
		return o.AtEnd()
	case atOffset:
		return o.At(p.n)
	case beforeEnd:
		return o.AtEnd().Relative(-p.n)
	case atTime:
		return o.AfterMilli(p.n)
	}
	return o.AtStart()
}

// bounds are the first offset of partitions and the one after the last.
type bounds struct{ start, end kadm.ListedOffsets }

func boundsOf(ctx context.Context, admin *kadm.Client, topics []string) (b bounds, err error) {
	if b.start, err = admin.ListStartOffsets(ctx, topics...); err != nil {
		return b, err
	}
	b.end, err = admin.ListEndOffsets(ctx, topics...)
	return b, err
}

// of returns the bounds of a partition.
func (b bounds) of(topic string, partition int32) (start, end int64, err error) {
	s, ok := b.start.Lookup(topic, partition)
	e, okToo := b.end.Lookup(topic, partition)
	switch {
	case !ok || !okToo:
		return 0, 0, fmt.Errorf("topic %s partition %d: the broker says nothing of its offsets", topic, partition)
	case s.Err != nil:
		return 0, 0, fmt.Errorf("topic %s partition %d: %w", topic, partition, s.Err)
	case e.Err != nil:
		return 0, 0, fmt.Errorf("topic %s partition %d: %w", topic, partition, e.Err)
	}
	return s.Offset, e.Offset, nil
}

// finder finds the offset of a position in each partition of some topics.
type finder struct {
	bounds
	position position
	times    kadm.ListedOffsets // of a position that is a time
}

func find(ctx context.Context, admin *kadm.Client, p position, topics []string) (f finder, err error) {
	f.position = p
	if f.bounds, err = boundsOf(ctx, admin, topics); err != nil {
		return f, err
	}
	if p.kind == atTime {
		f.times, err = admin.ListOffsetsAfterMilli(ctx, p.n, topics...)
	}
	return f, err
}

// at returns the offset in a partition, which lies between its first and its end.
func (f finder) at(topic string, partition int32) (int64, error) {
	start, end, err := f.of(topic, partition)
	if err != nil {
		return 0, err
	}
	want := start
	switch f.position.kind {
	case atEnd:
		want = end
	case atOffset:
		want = f.position.n
	case beforeEnd:
		want = end - f.position.n
	case atTime:
		o, ok := f.times.Lookup(topic, partition)
		switch {
		case !ok:
			return 0, fmt.Errorf("topic %s partition %d: the broker says nothing of its times", topic, partition)
		case o.Err != nil:
			return 0, fmt.Errorf("topic %s partition %d: the broker finds no offset by time: %w", topic, partition, o.Err)
		}
		if want = o.Offset; want < 0 { // no record is as late
			want = end
		}
	}
	return min(max(want, start), end), nil
}
