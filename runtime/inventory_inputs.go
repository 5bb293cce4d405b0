package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"thalweg/internal/batch"
	"thalweg/internal/kclient"
	"thalweg/internal/origin"
	"thalweg/internal/progress"
	"thalweg/internal/task"
)

// compareRepartitions looks for records that the topology would not process as they were meant.
func (v *inventory) compareRepartitions(ctx context.Context) error {
	var errs []error
	for _, k := range v.noted.all(progress.InternalTopic) {
		was, listed := v.listed(k.Name)
		form, read := v.lay.forms[k.Name]
		if !listed || was.Form == "" || read && form == was.Form || !origin.Same(was.Cluster, v.identity.Cluster) {
			continue
		}
		r := origin.Repartition{
			Place: v.home.place(v.cfg), Topic: k.Name, Read: read, Form: form, ListedForm: was.Form,
		}
		id, exists := v.identity.Topics[k.Name]
		if exists && origin.Same(id, was.TopicID) {
			var err error
			if r.Unread, err = v.unread(ctx, k.Name); err != nil {
				return err
			}
		}
		if len(r.Unread) > 0 && !read {
			n, err := v.client.Members(ctx, v.cfg.ApplicationID)
			if err != nil {
				return err
			}
			r.Others = n > 0
		}
		if !read && (!exists || len(r.Unread) == 0) {
			v.changes[k] = nil
		}
		errs = append(errs, v.says(origin.CompareRepartition(r)))
	}
	return errors.Join(errs...)
}

// unread are the partitions of a repartition topic with records that the group has not processed.
func (v *inventory) unread(ctx context.Context, topic string) ([]string, error) {
	committed, err := v.committed(ctx)
	if err != nil {
		return nil, err
	}
	n, err := v.client.Partitions(ctx, topic)
	if err != nil {
		return nil, err
	}
	from, end, err := v.bounds(ctx, topic, n)
	if err != nil {
		return nil, err
	}
	for tp := range from {
		from[tp] = max(from[tp], committed[tp])
	}
	var unread []string
	err = v.client.Scan(ctx, from, end, func(tp kclient.TopicPartition, b batch.Batch) (bool, error) {
		if b.IsControl() || b.LastOffset() < from[tp] {
			return false, nil
		}
		text := fmt.Sprintf("partition %d: from offset %d of %d", tp.Partition, from[tp], end[tp])
		if !slices.Contains(unread, text) {
			unread = append(unread, text)
		}
		return true, nil
	})
	slices.Sort(unread)
	return unread, err
}

// compareInputs looks for inputs that were deleted and recreated since offsets of them were committed. Their notes are
// of the new topics from now on, but where the group has an offset that the application itself has committed: that is
// of the deleted topic, and dropped when the task is opened.
func (v *inventory) compareInputs(ctx context.Context) error {
	recreated := map[string]*origin.Recreated{}
	for _, k := range v.noted.all(progress.Input) {
		note, _ := v.noted.get(k)
		id, exists := v.identity.Topics[k.Name]
		if !exists || v.lay.repartitions[k.Name] || origin.Same(note.TopicID, id) ||
			!origin.Same(note.Cluster, v.identity.Cluster) {
			continue
		}
		r := recreated[k.Name]
		if r == nil {
			r = &origin.Recreated{
				Topic: k.Name, WasID: note.TopicID, ID: id, Offsets: map[int32]int64{}, Application: v.cfg.ApplicationID,
			}
			recreated[k.Name] = r
		}
		tp := kclient.TopicPartition{Topic: k.Name, Partition: k.Partition}
		// A transaction of a predecessor may yet commit an offset of the deleted topic.
		committed, err := v.client.OffsetsOf(ctx, v.cfg.ApplicationID, []kclient.TopicPartition{tp}, true)
		if err != nil {
			return err
		}
		switch at := committed[tp]; {
		case at.Next < 0:
			r.WithoutAny = append(r.WithoutAny, k.Partition)
			v.changes[k] = nil
		case task.HasWritten(at.Metadata):
			r.Late = append(r.Late, k.Partition)
		default:
			r.Offsets[k.Partition] = at.Next
			v.changes[k] = &progress.Value{TopicID: id, Cluster: v.identity.Cluster, Committed: true}
		}
	}
	for _, topic := range sortedKeys(recreated) {
		if err := v.says(origin.CompareInput(*recreated[topic])); err != nil {
			return err
		}
	}
	return nil
}
