package topology

// Call is the record for which a function is called that may fail and that sees the record: the first argument of the
// functions of a Try form. It is valid during the call: an operator has one, which is another record's the next time.
//
// In a join it is the record that arrived. Where a commit emits, or a punctuation fires, there is no record of a topic:
// Topic is empty then, Partition and Offset are -1.
type Call struct {
	env       *Env
	timestamp int64
	headers   []Header
	waited    bool // origin says where the record came from, not the environment
	origin    Metadata
}

// Timestamp is the record's time, in milliseconds since the epoch: the one that it has where the operator is, which is
// not that of the topic's record where an operator has changed it on the way.
func (c *Call) Timestamp() int64 { return c.timestamp }

// Headers are the record's headers. They are shared with the record's other receivers: read-only.
func (c *Call) Headers() []Header { return c.headers }

// Topic is the topic that the record was read from, a repartition topic included; empty where there is none.
func (c *Call) Topic() string { return c.metadata().Topic }

// Partition is the partition that the record was read from, or -1.
func (c *Call) Partition() int32 { return c.metadata().Partition }

// Offset is the record's offset in its partition, or -1.
func (c *Call) Offset() int64 { return c.metadata().Offset }

func (c *Call) metadata() Metadata {
	switch {
	case c.waited:
		return c.origin
	case c.env == nil || c.env.Source == nil:
		return Metadata{Partition: -1, Offset: -1}
	}
	return c.env.Source.Metadata()
}

// Call is the node's call, as [Instance.CallAt] has filled it last.
func (in *Instance) Call() *Call { return &in.call }

// CallAt fills the node's call for a record that arrives with the time and the headers.
func (in *Instance) CallAt(timestamp int64, headers []Header) *Call {
	c := &in.call
	c.timestamp, c.waited = timestamp, false
	if headers != nil || c.headers != nil { // nearly never; and writing a pointer is not free
		c.headers = headers
	}
	return c
}

// KeepCall lets the node's call say what it says, whatever becomes of the environment's Source.
func (in *Instance) KeepCall() {
	c := &in.call
	c.origin, c.waited = c.metadata(), true
}

// CallOf fills the node's call for a record that has waited in a buffer.
func (in *Instance) CallOf(timestamp int64, headers []Header, origin Metadata) *Call {
	c := in.CallAt(timestamp, headers)
	c.waited, c.origin = true, origin
	return c
}
