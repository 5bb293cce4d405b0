package runtime

// A worker may have thousands of tasks, of which few have anything to do. What it does in a turn and at a commit costs
// what those take. For that it keeps these sets of its tasks that run:
//
//	turns        may have something to process now (schedule), are to be called at some time of the wall clock (alarms),
//	             or have a record that waits for its next attempt (retrying)
//	touched      may have something to commit
//	inFlight     have a part in the commit under way: they are sealed
//	checkpoints  have committed something that may not be in the engine: they are behind
//	publisher    have other figures than are published: they are changed
//
// A task too many in one of them costs a call. One too few would lose work: so a task is touched before it is called.

// active is a task's part in these sets.
type active struct {
	place    place // in the schedule
	touched  bool
	sealed   bool
	behind   bool
	retrying bool
	changed  bool
	alarm    int // place in the alarms, from 1; 0: none
	alarmAt  int64
}
