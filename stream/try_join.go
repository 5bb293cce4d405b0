package stream

// Join is [Stream.Join] with a full function. Its call is the record that came second.
func (t TryStream[K, V]) Join[V2, R any](
	o Stream[K, V2], w Within, name string, f func(*Call, K, V, V2) (R, error),
) Stream[K, R] {
	t.s.n.needs("Join", f == nil)
	return joinStreams(t.s, "Join", o, w, name, inner, innerOf(f))
}

// LeftJoin is [Stream.LeftJoin] with a full function. Its call is the record that came second; for a record that met
// nothing the one that has moved time so far that nothing can come any more.
func (t TryStream[K, V]) LeftJoin[V2, R any](
	o Stream[K, V2], w Within, name string, f func(*Call, K, V, *V2) (R, error),
) Stream[K, R] {
	t.s.n.needs("LeftJoin", f == nil)
	return joinStreams(t.s, "LeftJoin", o, w, name, leftOuter, leftOf(f))
}

// OuterJoin is [Stream.OuterJoin] with a full function. Its call is that of [TryStream.LeftJoin].
func (t TryStream[K, V]) OuterJoin[V2, R any](
	o Stream[K, V2], w Within, name string, f func(*Call, K, *V, *V2) (R, error),
) Stream[K, R] {
	t.s.n.needs("OuterJoin", f == nil)
	return joinStreams(t.s, "OuterJoin", o, w, name, outer, f)
}

// JoinTable is [Stream.JoinTable] with a full function.
func (t TryStream[K, V]) JoinTable[V2, R any](o Table[K, V2], f func(*Call, K, V, V2) (R, error)) Stream[K, R] {
	t.s.n.needs("JoinTable", f == nil)
	return joinTable(t.s, "JoinTable", o, false, foundOf(f))
}

// LeftJoinTable is [Stream.LeftJoinTable] with a full function.
func (t TryStream[K, V]) LeftJoinTable[V2, R any](
	o Table[K, V2], f func(*Call, K, V, *V2) (R, error),
) Stream[K, R] {
	t.s.n.needs("LeftJoinTable", f == nil)
	return joinTable(t.s, "LeftJoinTable", o, true, f)
}

// JoinAsOf is [Stream.JoinAsOf] with a full function. Its call is the stream's record, as it was when it came.
func (t TryStream[K, V]) JoinAsOf[V2, R any](
	o Table[K, V2], row AsOf, name string, f func(*Call, K, V, V2) (R, error),
) Stream[K, R] {
	t.s.n.needs("JoinAsOf", f == nil)
	return joinAsOf(t.s, "JoinAsOf", o, row, name, false, foundOf(f))
}

// LeftJoinAsOf is [Stream.LeftJoinAsOf] with a full function. Its call is the stream's record, as it was when it came.
func (t TryStream[K, V]) LeftJoinAsOf[V2, R any](
	o Table[K, V2], row AsOf, name string, f func(*Call, K, V, *V2) (R, error),
) Stream[K, R] {
	t.s.n.needs("LeftJoinAsOf", f == nil)
	return joinAsOf(t.s, "LeftJoinAsOf", o, row, name, true, f)
}

// JoinGlobal is [Stream.JoinGlobal] with full functions.
func (t TryStream[K, V]) JoinGlobal[GK, GV, R any](
	o GlobalTable[GK, GV], key func(*Call, K, V) (GK, bool, error), f func(*Call, K, V, GV) (R, error),
) Stream[K, R] {
	t.s.n.needs("JoinGlobal", key == nil, f == nil)
	return joinGlobal(t.s, "JoinGlobal", o, key, false, foundOf(f))
}

// LeftJoinGlobal is [Stream.LeftJoinGlobal] with full functions.
func (t TryStream[K, V]) LeftJoinGlobal[GK, GV, R any](
	o GlobalTable[GK, GV], key func(*Call, K, V) (GK, bool, error), f func(*Call, K, V, *GV) (R, error),
) Stream[K, R] {
	t.s.n.needs("LeftJoinGlobal", key == nil, f == nil)
	return joinGlobal(t.s, "LeftJoinGlobal", o, key, true, f)
}
