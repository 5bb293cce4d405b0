package broker

import (
	"thalweg/broker/internal/log"
	"thalweg/internal/direct"
)

// partitionWatch waits at the log of a partition, which may be another one each time: topics are deleted and recreated.
type partitionWatch struct {
	b         *broker
	topic     string
	partition int32
	isolation log.Isolation
	watch     *log.Watch
	at        *log.Log // where it was armed last; nil: nowhere
}

func (b *broker) NewWatch(topic string, partition int32, isolation direct.Isolation, fire func()) direct.Watch {
	return &partitionWatch{
		b: b, topic: topic, partition: partition, isolation: log.Isolation(isolation), watch: log.NewWatchFunc(fire),
	}
}

func (w *partitionWatch) Arm(start, beyond int64) (ready bool) {
	target, err := w.b.topics.load().partition(w.topic, w.partition)
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
