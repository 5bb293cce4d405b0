package state

import "encoding/binary"

// place is where encoded bytes lie in an arena; the zero place is none.
type place struct {
	chunk uint32 // index + 1
	at    uint32
	size  uint32
}

// arena holds encoded values. Bytes once written never change and chunks are never used again, so views of them may
// be kept for ever: the owner before them may change. A chunk that holds nothing alive is dropped; one that is mostly
// dead is evacuated.
//
//	chunk:  [owner 4][size 4][bytes …] …
type arena struct {
	chunks  []arenaChunk
	vacant  []uint32 // numbers of dropped chunks
	current int      // index of the chunk being filled
	total   int64
	live    int64
	grown   func(bytes int64) // gets each change of total; may be nil
}

type arenaChunk struct {
	data []byte
	live int
}

const (
	arenaHead      = 8
	arenaChunkMin  = 1 << 10
	arenaChunkMax  = 256 << 10
	arenaParts     = 8 // a new chunk is at most that part of what is there
	arenaTidyMin   = 1 << 20
	arenaTightMin  = 16 << 10
	evacuatedBytes = 8 << 20 // most that one commit moves
)

// put copies bytes in.
func (a *arena) put(owner uint32, b []byte) place {
	need := arenaHead + len(b)
	if len(a.chunks) == 0 || cap(a.chunks[a.current].data)-len(a.chunks[a.current].data) < need {
		a.grow(need)
	}
	c := &a.chunks[a.current]
	at := len(c.data)
	c.data = binary.NativeEndian.AppendUint32(c.data, owner)
	c.data = binary.NativeEndian.AppendUint32(c.data, uint32(len(b)))
	c.data = append(c.data, b...)
	c.live += need
	a.live += int64(need)
	return place{chunk: uint32(a.current) + 1, at: uint32(at), size: uint32(len(b))}
}

func (a *arena) grow(need int) {
	size := arenaChunkMin
	for size < arenaChunkMax && int64(size) < a.total/arenaParts {
		size *= 2
	}
	size = max(size, need)
	if len(a.chunks) > 0 && a.chunks[a.current].live == 0 {
		a.drop(a.current)
	}
	c := arenaChunk{data: make([]byte, 0, size)}
	a.resized(int64(size))
	if n := len(a.vacant); n > 0 {
		a.current = int(a.vacant[n-1])
		a.vacant = a.vacant[:n-1]
		a.chunks[a.current] = c
		return
	}
	a.chunks = append(a.chunks, c)
	a.current = len(a.chunks) - 1
}

func (a *arena) resized(bytes int64) {
	a.total += bytes
	if a.grown != nil {
		a.grown(bytes)
	}
}

// reset gives everything up.
func (a *arena) reset() {
	a.resized(-a.total)
	*a = arena{grown: a.grown}
}

// moved is called when an owner has another number.
func (a *arena) moved(p place, owner uint32) {
	binary.NativeEndian.PutUint32(a.chunks[p.chunk-1].data[p.at:], owner)
}

func (a *arena) drop(chunk int) {
	a.resized(-int64(cap(a.chunks[chunk].data)))
	a.chunks[chunk] = arenaChunk{}
	a.vacant = append(a.vacant, uint32(chunk))
}

// view returns the bytes at a place.
func (a *arena) view(p place) []byte {
	from := p.at + arenaHead
	return a.chunks[p.chunk-1].data[from : from+p.size : from+p.size]
}

// release gives a place up.
func (a *arena) release(p place) {
	if p.chunk == 0 {
		return
	}
	chunk := int(p.chunk - 1)
	c := &a.chunks[chunk]
	c.live -= arenaHead + int(p.size)
	a.live -= int64(arenaHead + p.size)
	if c.live == 0 && chunk != a.current {
		a.drop(chunk)
	}
}

// evacuate moves what lives out of chunks that are mostly dead, or tight, where memory is short, a tenth dead. where
// returns the place that its owner keeps; nil: there is no such owner. Where places are held beside those, a chunk with
// one of them stays: it would not become empty.
func (a *arena) evacuate(tight, held bool, where func(owner uint32) *place) {
	least, num, den := int64(arenaTidyMin), 1, 2
	if tight {
		least, num, den = arenaTightMin, 9, 10
	}
	if a.total < least || a.live*int64(den) > a.total*int64(num) {
		return
	}
	if c := a.chunks[a.current]; tight && c.live*den <= len(c.data)*num {
		a.grow(0)
	}
	moved := 0
	for chunk := 0; chunk < len(a.chunks) && moved < evacuatedBytes; chunk++ {
		c := a.chunks[chunk]
		if chunk == a.current || c.data == nil || c.live*den > cap(c.data)*num || held && a.owned(chunk, where) < c.live {
			continue
		}
		for at := 0; at < len(c.data); {
			owner := binary.NativeEndian.Uint32(c.data[at:])
			size := binary.NativeEndian.Uint32(c.data[at+4:])
			p := where(owner)
			if p != nil && p.chunk == uint32(chunk)+1 && p.at == uint32(at) {
				old := *p
				*p = a.put(owner, a.view(old))
				a.release(old)
				moved += int(size)
			}
			at += arenaHead + int(size)
		}
	}
}

// owned is how much of what lives in a chunk is where its owners say.
func (a *arena) owned(chunk int, where func(owner uint32) *place) (bytes int) {
	data := a.chunks[chunk].data
	for at := 0; at < len(data); {
		size := binary.NativeEndian.Uint32(data[at+4:])
		p := where(binary.NativeEndian.Uint32(data[at:]))
		if p != nil && p.chunk == uint32(chunk)+1 && p.at == uint32(at) {
			bytes += arenaHead + int(size)
		}
		at += arenaHead + int(size)
	}
	return bytes
}
