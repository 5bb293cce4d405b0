package main

import (
	"context"

	"thalweg/examples/wordcount/program"
	"thalweg/runtime"
	"thalweg/topology"
)

// feed writes every line to the topic, to a partition that the line alone decides. What a partition holds is always the
// first of its lines, in order, each once; so after a crash its end offset says where to go on.
func feed(
	ctx context.Context, client *runtime.Client, n program.Program, in *input, show *progress,
) (lines int64, err error) {
	there, err := client.Offsets(ctx, n.Lines, runtime.Latest())
	if err != nil {
		return 0, err
	}
	var inputErr error
	err = client.SendAll(ctx, n.Lines, func(yield func(topology.Record[string, string]) bool) {
		for line, err := range in.lines() {
			if inputErr = err; err != nil {
				return
			}
			r := topology.Record[string, string]{NullKey: true, Value: string(line)}
			p := int32(program.PartitionOf(r.Key, r.Value, len(there)))
			if there[p]--; there[p] < 0 && !yield(r) {
				return
			}
			lines++
			show.lines.Store(lines)
		}
	})
	if inputErr != nil {
		return lines, inputErr
	}
	return lines, err
}
