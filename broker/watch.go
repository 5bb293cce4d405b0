package broker

import (
	"thalweg/broker/internal/log"
	"thalweg/internal/direct"
)

// partitionWatch waits at the log of a partition. Without a topic id that may be another one each time: topics are
// deleted and recreated.
type partitionWatch struct {
	b         *broker
	place     direct.FetchPartition
	isolation log.Isolation
	watch     *log.Watch
	at        *log.Log // where it was armed last; nil: nowhere
}

func (b *broker) NewWatch(place direct.FetchPartition, isolation direct.Isolation, fire func()) direct.Watch {
	return &partitionWatch{b: b, place: place, isolation: log.Isolation(isolation), watch: log.NewWatchFunc(fire)}
}

func (w *partitionWatch) Arm(start, beyond int64) (ready bool) {
	target, err := w.b.topics.load().partitionOf(&w.place)
	if err != nil {
		return true
	}
	if w.at != target.log {
		w.Disarm()
		w.at = target.log
	}
	return w.at.Watch(w.watch, start, beyond, w.isolation)
}

func (w *partitionWatch) Disarm() {
	if w.at != nil {
		w.at.Unwatch(w.watch)
		w.at = nil
	}
}
