package place

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/stream"
	"thalweg/topology"
)

// Topics are the topics of an example that writes and reads little. Their names begin with the application's id, as
// those of its internal topics do.
type Topics struct {
	place       *Place
	client      *kgo.Client
	admin       *kadm.Client
	application string
}

// Create makes the topics, with one partition each. On a cluster none that begins with the application's id may be
// there: all of them are deleted at the end.
func (p *Place) Create(ctx context.Context, application string, topics ...string) (_ *Topics, err error) {
	client, err := p.Client(kgo.KeepControlRecords())
	if err != nil {
		return nil, err
	}
	t := &Topics{p, client, kadm.NewClient(client), application}
	defer func() {
		if err != nil {
			client.Close()
		}
	}()
	there, err := t.names(ctx, t.admin)
	if err == nil && len(there) > 0 {
		err = fmt.Errorf("they exist, of another run? thalweg topics delete %s", strings.Join(there, " "))
	}
	if err == nil {
		made, createErr := t.admin.CreateTopics(ctx, 1, -1, nil, topics...)
		if err = createErr; err == nil {
			err = made.Error()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("topics %s-*: %w", application, err)
	}
	return t, nil
}

// names are those of the topics that begin with the application's id.
func (t *Topics) names(ctx context.Context, admin *kadm.Client) (names []string, err error) {
	all, err := admin.ListTopics(ctx)
	for _, name := range all.Names() {
		if strings.HasPrefix(name, t.application+"-") {
			names = append(names, name)
		}
	}
	return names, err
}

// Close leaves nothing behind on a cluster, also after an interruption.
func (t *Topics) Close() error {
	t.client.Close()
	if t.place.Broker != nil {
		return nil
	}
	client, err := t.place.Client() // the other one remembers which topics there were
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, admin := context.Background(), kadm.NewClient(client)
	names, err := t.names(ctx, admin)
	if err == nil && len(names) > 0 {
		gone, deleteErr := admin.DeleteTopics(ctx, names...)
		err = errors.Join(deleteErr, gone.Error())
	}
	_, groupErr := admin.DeleteGroup(ctx, t.application)
	return errors.Join(err, groupErr)
}

// Send writes records to a topic, one after the other.
func (t *Topics) Send[K, V any](ctx context.Context, to stream.Topic[K, V], records ...topology.Record[K, V]) error {
	keys, values := to.Serdes()
	sent := make([]*kgo.Record, len(records))
	for i, r := range records {
		key, keyErr := keys.Append(nil, r.Key)
		value, valueErr := values.Append(nil, r.Value)
		if err := errors.Join(keyErr, valueErr); err != nil {
			return fmt.Errorf("topic %s: record %d: %w", to.Name(), i, err)
		}
		sent[i] = &kgo.Record{Topic: to.Name(), Key: key, Value: value, Timestamp: time.UnixMilli(r.Timestamp)}
	}
	if err := t.client.ProduceSync(ctx, sent...).FirstErr(); err != nil {
		return fmt.Errorf("topic %s: %w", to.Name(), err)
	}
	return nil
}

// Read reads all that is committed in a topic.
func (t *Topics) Read[K, V any](ctx context.Context, from stream.Topic[K, V]) ([]topology.Record[K, V], error) {
	ends, err := t.admin.ListCommittedOffsets(ctx, from.Name())
	if err = errors.Join(err, ends.Error()); err != nil {
		return nil, fmt.Errorf("topic %s: %w", from.Name(), err)
	}
	end, _ := ends.Lookup(from.Name(), 0)
	t.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{from.Name(): {0: kgo.NewOffset().At(0)}})
	defer t.client.RemoveConsumePartitions(map[string][]int32{from.Name(): {0}})
	keys, values := from.Serdes()
	var records []topology.Record[K, V]
	for next := int64(0); next < end.Offset; {
		fetched := t.client.PollFetches(ctx)
		if err := fetched.Err(); err != nil {
			return nil, fmt.Errorf("topic %s: %w", from.Name(), err)
		}
		for f := range fetched.RecordsAll() {
			next = f.Offset + 1
			if f.Attrs.IsControl() {
				continue // a transaction's end
			}
			r := topology.Record[K, V]{Timestamp: f.Timestamp.UnixMilli(), NullValue: f.Value == nil}
			r.Key, err = keys.Decode(f.Key)
			if err == nil && !r.NullValue {
				r.Value, err = values.Decode(f.Value)
			}
			if err != nil {
				return nil, fmt.Errorf("topic %s offset %d: %w", from.Name(), f.Offset, err)
			}
			records = append(records, r)
		}
	}
	return records, nil
}
