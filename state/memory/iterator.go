package memory

import (
	"bytes"

	"github.com/tidwall/btree"
)

type iterator struct {
	it           btree.IterG[row]
	lower, upper []byte
	valid        bool
}

func (i *iterator) First() bool {
	if i.lower != nil {
		return i.settle(i.it.Seek(row{key: i.lower}))
	}
	return i.settle(i.it.First())
}

func (i *iterator) Last() bool {
	if i.upper != nil {
		return i.SeekLT(i.upper)
	}
	return i.settle(i.it.Last())
}

func (i *iterator) SeekGE(key []byte) bool {
	if i.lower != nil && bytes.Compare(key, i.lower) < 0 {
		key = i.lower
	}
	return i.settle(i.it.Seek(row{key: key}))
}

func (i *iterator) SeekLT(key []byte) bool {
	if i.upper != nil && bytes.Compare(key, i.upper) > 0 {
		key = i.upper
	}
	if !i.it.Seek(row{key: key}) {
		return i.settle(i.it.Last())
	}
	return i.settle(i.it.Prev())
}

func (i *iterator) Next() bool { return i.settle(i.valid && i.it.Next()) }

func (i *iterator) Prev() bool { return i.settle(i.valid && i.it.Prev()) }

// settle takes the bounds into account.
func (i *iterator) settle(found bool) bool {
	i.valid = found
	if found {
		key := i.it.Item().key
		i.valid = (i.lower == nil || bytes.Compare(key, i.lower) >= 0) &&
			(i.upper == nil || bytes.Compare(key, i.upper) < 0)
	}
	return i.valid
}

func (i *iterator) Key() []byte { return i.it.Item().key }

func (i *iterator) Value() ([]byte, error) { return i.it.Item().value, nil }

func (i *iterator) Error() error { return nil }

func (i *iterator) Close() error {
	i.it.Release()
	return nil
}
