package task

import "fmt"

// Where says what the task is at, for a message about a call that does not come back: the node whose function runs, and
// the record. Any goroutine may ask while the task is at work. The answer is right where the task stands still; it is
// empty while the graph is made.
func (t *Task) Where() string {
	graph := t.nodes.seen.Load()
	if graph == nil {
		return ""
	}
	node := graph.Seen()
	if node == nil {
		return ""
	}
	where := fmt.Sprintf("node %s (%s)", node.Name, node.Site)
	if record := t.Queues.atHand(); record != "" {
		return where + ", " + record
	}
	return where
}

// atHandUnsynchronized tells whether the queue's head is the record at hand, and its offset. It reads single words that
// the task's goroutine writes for each record. Topic and partition of a queue never change.
//
//go:norace
func (q *queue) atHandUnsynchronized() (offset int64, ok bool) {
	return q.head.Offset, q.env.Source == &q.head
}
