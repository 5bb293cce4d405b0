package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// lineBytesMax is the longest line, or the largest value, that produce takes.
	lineBytesMax = 64 << 20
	// producingBytesMax is what may be on its way to the broker.
	producingBytesMax = 64 << 20
	// flushTimeout is how long an interrupted produce waits for the acknowledgment of what it has read.
	flushTimeout = 5 * time.Second
	// anyPartition lets the key, or chance, decide.
	anyPartition = -1
	batchBytes   = 1_000_000 // where the broker does not say how much it takes
)

// produce is what the produce command is asked to do.
type produce struct {
	connection
	separator, fixedKey, null, timestamp string
	headers                              []string
	partition                            int32
	input                                choice

	keyed, nulls bool // the flags were given
	common       kgo.Record
	partitions   int32 // of the topic; 0: not known
	batchMax     atomic.Int32
	acknowledged atomic.Int64
}

func produceCommand() *cobra.Command {
	var p produce
	cmd := &cobra.Command{
		Use:   "produce TOPIC",
		Short: "Write each line of standard input to a topic",
		Long: `Write each line of standard input to a topic as a record. With -input json each line is an object as consume
-output json writes it: {"key":"k","value":"v"}, with "partition", "timestamp" and "headers" where wanted. A value that
is no string is written as its JSON text. With -input value all of standard input is one value.
An object with a "partition" is written there. Where that comes from a topic with another number of partitions, leave it
out, so that the key decides.`,
		Example: `  echo 'anna:3 apples' | thalweg produce orders -key :
  echo 'anna:NULL' | thalweg produce orders -key : -null NULL
  echo '{"key":"anna","value":"3 apples","timestamp":"2026-01-31T08:00:00Z"}' | thalweg produce orders -input json
  thalweg produce pictures -input value -fixed-key cat.jpg < cat.jpg`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeOne(topicNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			p.keyed, p.nulls = cmd.Flags().Changed("fixed-key"), cmd.Flags().Changed("null")
			return p.start(cmd, args[0])
		},
	}
	p.flags(cmd)
	f := cmd.Flags()
	f.StringVarP(&p.separator, "key", "k", "", "what separates key and value in a line (default: no keys)")
	f.StringVar(&p.fixedKey, "fixed-key", "", "the key of all records")
	f.StringVar(&p.null, "null", "", "a key or value that is this text is null")
	f.StringArrayVarP(&p.headers, "header", "H", nil, "NAME=VALUE, repeatable: a header of all records")
	f.StringVar(&p.timestamp, "timestamp", "", "of all records: a time, or milliseconds since 1970 (default: now)")
	f.Int32VarP(&p.partition, "partition", "p", anyPartition, "write to this partition (default: the key decides)")
	p.input.flag(cmd, "input", "i", "what standard input has", "lines", "json", "value")
	return cmd
}

func (p *produce) start(cmd *cobra.Command, topic string) error {
	if err := p.check(); err != nil {
		return err
	}
	p.batchMax.Store(batchBytes)
	var kc atomic.Pointer[kgo.Client]
	wait := &patience{pending: func() bool { c := kc.Load(); return c == nil || c.BufferedProduceRecords() > 0 }}
	opts := []kgo.Opt{
		kgo.DefaultProduceTopic(topic), kgo.MaxBufferedBytes(producingBytesMax),
		kgo.ProducerBatchMaxBytesFn(func(string) int32 { return p.batchMax.Load() }),
	}
	if p.partition != anyPartition || p.input.value == "json" {
		opts = append(opts, kgo.RecordPartitioner(kgo.BasicConsistentPartitioner(chosenOrByKey)))
	}
	return p.talk(cmd, wait, func(ctx context.Context, c *client) error {
		p.learn(ctx, c, topic)
		kc.Store(c.Client)
		return p.run(ctx, c, cmd.InOrStdin())
	}, opts...)
}

// check refuses what does not go together.
func (p *produce) check() error {
	switch {
	case p.separator != "" && p.keyed:
		return errors.New("-key and -fixed-key: give one of them")
	case p.separator != "" && p.input.value != "lines":
		return fmt.Errorf("-key is for lines of text, not for -input %s", p.input.value)
	case p.nulls && p.input.value == "json":
		return errors.New("-null is for text: an object has null")
	case p.partition < anyPartition:
		return fmt.Errorf("-partition %d: want 0 or more", p.partition)
	}
	p.common.Partition = p.partition
	if p.keyed {
		p.common.Key = p.nullable([]byte(p.fixedKey))
	}
	if p.timestamp != "" {
		t, err := parseTimestamp(p.timestamp)
		if err != nil {
			return fmt.Errorf("-timestamp %q: %w", p.timestamp, err)
		}
		p.common.Timestamp = t
	}
	for _, h := range p.headers {
		name, value, ok := strings.Cut(h, "=")
		if name == "" {
			return fmt.Errorf("-header %q: want NAME=VALUE, or NAME for a null", h)
		}
		header := kgo.RecordHeader{Key: name}
		if ok {
			header.Value = []byte(value)
		}
		p.common.Headers = append(p.common.Headers, header)
	}
	return nil
}

// chosenOrByKey takes the partition that a record names, or the one of its key as Kafka does. Records without either
// take turns.
func chosenOrByKey(topic string) func(*kgo.Record, int) int {
	byKey := kgo.StickyKeyPartitioner(nil).ForTopic(topic)
	turn := 0
	return func(r *kgo.Record, n int) int {
		switch {
		case r.Partition != anyPartition:
			return int(r.Partition)
		case r.Key != nil:
			return byKey.Partition(r, n)
		}
		turn++
		return turn % n
	}
}

// learn asks how many partitions the topic has, and how large a batch it takes. It makes do without an answer.
func (p *produce) learn(ctx context.Context, c *client, topic string) {
	if details, err := c.admin.ListTopics(ctx, topic); err == nil {
		p.partitions = int32(len(details[topic].Partitions))
	}
	configs, err := c.admin.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return
	}
	rc, err := configs.On(topic, nil)
	if err != nil {
		return
	}
	for _, config := range rc.Configs {
		if n, err := strconv.Atoi(config.MaybeValue()); config.Key == "max.message.bytes" && err == nil && n > 0 {
			p.batchMax.Store(int32(min(n, lineBytesMax)))
		}
	}
}

// line is one record to be written, or why there is none.
type line struct {
	n      int
	record *kgo.Record
	err    error
}

// errLate ends produce after a failure, when what it has read before is not acknowledged soon.
var errLate = fmt.Errorf("not acknowledged within %v", flushTimeout)

// unwritten are the lines that were read and are not acknowledged.
type unwritten struct {
	mu    sync.Mutex
	lines map[int]error // nil: on its way
}

func (u *unwritten) add(n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.lines[n] = nil
}

func (u *unwritten) remove(n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.lines, n)
}

func (u *unwritten) fail(n int, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.lines[n] = err
}

// first returns the first line and why it was not written; 0: all were. A line that is on its way has the error given.
func (u *unwritten) first(otherwise error) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.lines) == 0 {
		return 0, nil
	}
	n := slices.Min(slices.Collect(maps.Keys(u.lines)))
	if err := u.lines[n]; err != nil {
		return n, err
	}
	return n, fmt.Errorf("line %d: %w", n, otherwise)
}

// run stops at the first line that was not written, and names it: all lines before it are written. What was read before
// an interrupt is written.
func (p *produce) run(ctx context.Context, c *client, in io.Reader) error {
	writing, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	defer context.AfterFunc(ctx, func() {
		var silent *silentError
		if cause := context.Cause(ctx); errors.As(cause, &silent) {
			stop(cause)
			return
		}
		time.AfterFunc(flushTimeout, func() { stop(errors.New("interrupted")) })
	})()
	reading, halt := context.WithCancel(writing)
	defer halt()
	left := unwritten{lines: map[int]error{}}
	read, bad := 0, error(nil)
	for l := range p.lines(ctx, reading, in) {
		if bad = l.err; bad != nil {
			break
		}
		read = l.n
		left.add(l.n)
		c.Produce(writing, l.record, func(r *kgo.Record, err error) {
			switch {
			case err == nil:
				left.remove(l.n)
				p.acknowledged.Add(1)
				c.patience.progress()
			case context.Cause(writing) == nil: // else it is one of those that were given up
				left.fail(l.n, p.failure(l.n, r, err))
				halt() // lines before this one may still be on their way to other partitions
				time.AfterFunc(flushTimeout, func() { stop(errLate) })
			}
		})
	}
	err := c.Flush(writing)
	cause := context.Cause(writing)
	n, failure := left.first(cmp.Or(cause, err, errLate))
	switch {
	case n == 0 && cause == nil:
		return errors.Join(bad, err)
	case n == 0:
		failure = cause
	}
	return fmt.Errorf("%w (%d of the %d records that were read are acknowledged)", failure, p.acknowledged.Load(), read)
}

func (p *produce) failure(n int, r *kgo.Record, err error) error {
	switch {
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return fmt.Errorf("line %d: %w; thalweg topics create makes the topic", n, phrase{kerr.UnknownTopicOrPartition})
	case errors.Is(err, kerr.MessageTooLarge):
		return fmt.Errorf("line %d: %w: key and value have %d bytes, and the topic takes batches of %d; thalweg topics "+
			"alter -config max.message.bytes=N raises that", n, phrase{kerr.MessageTooLarge}, len(r.Key)+len(r.Value),
			p.batchMax.Load())
	}
	return fmt.Errorf("line %d: %w", n, err)
}

// lines reads records in the background, since a reader of a terminal can't be interrupted. It ends with either
// context.
func (p *produce) lines(ctx, reading context.Context, in io.Reader) func(yield func(line) bool) {
	found := make(chan line)
	go func() {
		defer close(found)
		send := func(l line) bool {
			select {
			case found <- l:
				return l.err == nil
			case <-ctx.Done():
			case <-reading.Done():
			}
			return false
		}
		if p.input.value == "value" {
			send(p.whole(in))
			return
		}
		text := bufio.NewScanner(in)
		text.Buffer(nil, lineBytesMax)
		n := 1
		for ; text.Scan(); n++ {
			r, err := p.record(n, bytes.Clone(text.Bytes()))
			if err == nil {
				err = p.checkPartition(n, r)
			}
			if !send(line{n, r, err}) {
				return
			}
		}
		if err := text.Err(); err != nil {
			send(line{n: n, err: fmt.Errorf("standard input, line %d: %w", n, err)})
		}
	}()
	return func(yield func(line) bool) {
		for {
			select {
			case l, ok := <-found:
				if !ok || !yield(l) {
					return
				}
			case <-ctx.Done():
				return
			case <-reading.Done():
				return
			}
		}
	}
}

// whole makes one record of all of standard input.
func (p *produce) whole(in io.Reader) line {
	value, err := io.ReadAll(io.LimitReader(in, lineBytesMax+1))
	switch {
	case err != nil:
		return line{n: 1, err: fmt.Errorf("standard input: %w", err)}
	case len(value) > lineBytesMax:
		return line{n: 1, err: fmt.Errorf("standard input: a value may have %d bytes", lineBytesMax)}
	}
	r := p.common
	r.Value = p.nullable(value)
	return line{n: 1, record: &r, err: p.checkPartition(1, &r)}
}

// record makes the record of a line.
func (p *produce) record(n int, text []byte) (*kgo.Record, error) {
	if p.input.value == "json" {
		r, err := parseRecord(text)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		p.complete(r)
		return r, nil
	}
	r := p.common
	r.Value = text
	if p.separator != "" {
		key, value, ok := bytes.Cut(text, []byte(p.separator))
		if !ok {
			return nil, fmt.Errorf("line %d: no %q between key and value", n, p.separator)
		}
		r.Key, r.Value = p.nullable(key), value
	}
	r.Value = p.nullable(r.Value)
	return &r, nil
}

func (p *produce) checkPartition(n int, r *kgo.Record) error {
	if r.Partition < anyPartition || p.partitions > 0 && r.Partition >= p.partitions {
		return fmt.Errorf("line %d: no partition %d: the topic has %d, from 0 on", n, r.Partition, p.partitions)
	}
	return nil
}

// complete gives a record that an object describes what the flags say of all.
func (p *produce) complete(r *kgo.Record) {
	if p.keyed {
		r.Key = p.common.Key
	}
	if p.partition != anyPartition {
		r.Partition = p.partition
	}
	if p.timestamp != "" {
		r.Timestamp = p.common.Timestamp
	}
	r.Headers = append(r.Headers, p.common.Headers...)
}

// nullable is null for the text that says so. An empty text is an empty value otherwise.
func (p *produce) nullable(b []byte) []byte {
	switch {
	case p.nulls && string(b) == p.null:
		return nil
	case b == nil:
		return []byte{}
	}
	return b
}
