// Package op holds the physical operators of the DSL, one file each.
//
// An operator is a function that returns a [topology.Make]: called once per task, it is handed the ports of the node's
// children and returns the node's own. What it returns is a closure or a method over a small struct that belongs to
// the task: its output slot, scratch space, open stores. Nothing here allocates per record.
//
// The rule for nulls: functions of a nilable type see nil; for any other type a null value passes a function by,
// uncalled, and a null key reaches functions as the zero key.
package op
