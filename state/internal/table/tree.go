package table

import "github.com/tidwall/btree"

// Tree is entries, or other things that have numbers, in an order.
type Tree struct {
	tree any // see treeOf
}

// NewTree returns an empty tree. Numbers that are in it must not change their places.
func NewTree(less func(a, b uint32) bool) Tree {
	return Tree{btree.NewBTreeGOptions(less, btree.Options{NoLocks: true})}
}

// treeOf is the tree itself. Neither fields nor methods name its type: every package that mentions a table would
// compile the whole tree otherwise.
func treeOf(t Tree) *btree.BTreeG[uint32] { return t.tree.(*btree.BTreeG[uint32]) }

func walkOf(w Walk) *btree.IterG[uint32] { return w.iter.(*btree.IterG[uint32]) }

// Set adds a number.
func (t Tree) Set(index uint32) { treeOf(t).Set(index) }

// Load is Set, and cheap for a number that comes after all others.
func (t Tree) Load(index uint32) { treeOf(t).Load(index) }

// Delete takes a number out.
func (t Tree) Delete(index uint32) { treeOf(t).Delete(index) }

// Len is how many there are.
func (t Tree) Len() int { return treeOf(t).Len() }

// Ascend calls f with the numbers that do not come before pivot, in order, until it returns false.
func (t Tree) Ascend(pivot uint32, f func(index uint32) bool) { treeOf(t).Ascend(pivot, f) }

// Scan calls f with all numbers, in order, until it returns false.
func (t Tree) Scan(f func(index uint32) bool) { treeOf(t).Scan(f) }

// Walk returns an iterator of the tree as it is now; its owner calls Release when it is done.
func (t Tree) Walk() Walk {
	it := treeOf(t).Copy().Iter()
	return Walk{&it}
}

// Walk is an iterator of a tree.
type Walk struct{ iter any }

// Seek goes to the first number that does not come before pivot, First and Last to the ends.
func (w Walk) Seek(pivot uint32) bool { return walkOf(w).Seek(pivot) }
func (w Walk) First() bool            { return walkOf(w).First() }
func (w Walk) Last() bool             { return walkOf(w).Last() }

// Next and Prev move on.
func (w Walk) Next() bool { return walkOf(w).Next() }
func (w Walk) Prev() bool { return walkOf(w).Prev() }

// Item is the number at hand.
func (w Walk) Item() uint32 { return walkOf(w).Item() }

// Release ends the iterator.
func (w Walk) Release() { walkOf(w).Release() }
