package state

import "encoding/binary"

// place is where encoded bytes lie in an arena; the zero place is none.
type place struct {
	chunk uint32 // index + 1
	at    uint32
	size  uint32
}

// arena holds encoded values. Bytes once written never change and chunks are never used again, so views of them may
// be kept for ever. A chunk that holds nothing alive is dropped; one that is mostly dead is evacuated.
//
//	chunk:  [owner 4][size 4][bytes …] …
type arena struct {
	chunks  []arenaChunk
	vacant  []uint32 // numbers of dropped chunks
	current int      // index of the chunk being filled
	total   int64
	live    int64
}

type arenaChunk struct {
	data []byte
	live int
}

const (
	arenaHead      = 8
	arenaChunkMin  = 1 << 10
	arenaChunkMax  = 256 << 10
	arenaTidyMin   = 1 << 20
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
	for size < arenaChunkMax && int64(size) < a.total {
		size *= 4
	}
	size = max(size, need)
	if len(a.chunks) > 0 && a.chunks[a.current].live == 0 {
		a.drop(a.current)
	}
	c := arenaChunk{data: make([]byte, 0, size)}
	a.total += int64(size)
	if n := len(a.vacant); n > 0 {
		a.current = int(a.vacant[n-1])
		a.vacant = a.vacant[:n-1]
		a.chunks[a.current] = c
		return
	}
	a.chunks = append(a.chunks, c)
	a.current = len(a.chunks) - 1
}

func (a *arena) drop(chunk int) {
	a.total -= int64(cap(a.chunks[chunk].data))
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

// evacuate moves what lives out of chunks that are mostly dead. where returns the place that its owner keeps.
func (a *arena) evacuate(where func(owner uint32) *place) {
	if a.total < arenaTidyMin || a.live > a.total/2 {
		return
	}
	moved := 0
	for chunk := 0; chunk < len(a.chunks) && moved < evacuatedBytes; chunk++ {
		c := a.chunks[chunk]
		if chunk == a.current || c.data == nil || c.live > len(c.data)/2 {
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
