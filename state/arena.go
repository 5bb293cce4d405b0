package state

import "encoding/binary"

// arenaRef refers to encoded bytes in an arena. The zero arenaRef refers to nothing.
type arenaRef struct {
	chunk uint32 // index + 1
	at    uint32
	size  uint32
}

// arena holds encoded values. Written bytes never change and chunks are never reused, so callers may keep views of the
// bytes. Only the owner in front of them may change. A chunk without live bytes is dropped; a chunk whose bytes are
// mostly dead is evacuated.
//
//	chunk:  [owner 4][size 4][bytes …] …
type arena struct {
	chunks  []arenaChunk
	vacant  []uint32 // numbers of dropped chunks
	current int      // index of the chunk being filled
	total   int64
	live    int64
	grown   func(bytes int64) // called with each change of total; may be nil
}

type arenaChunk struct {
	data []byte
	live int
}

const (
	arenaHead      = 8
	arenaChunkMin  = 1 << 10
	arenaChunkMax  = 256 << 10
	arenaParts     = 8 // a new chunk is at most 1/arenaParts of the total
	arenaTidyMin   = 1 << 20
	arenaTightMin  = 16 << 10
	evacuatedBytes = 8 << 20 // the most that one commit moves
)

// put copies bytes into the arena.
func (a *arena) put(owner uint32, b []byte) arenaRef {
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
	return arenaRef{chunk: uint32(a.current) + 1, at: uint32(at), size: uint32(len(b))}
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

// reset drops all chunks.
func (a *arena) reset() {
	a.resized(-a.total)
	*a = arena{grown: a.grown}
}

// moved is called after the owner of some bytes got another number.
func (a *arena) moved(p arenaRef, owner uint32) {
	binary.NativeEndian.PutUint32(a.chunks[p.chunk-1].data[p.at:], owner)
}

func (a *arena) drop(chunk int) {
	a.resized(-int64(cap(a.chunks[chunk].data)))
	a.chunks[chunk] = arenaChunk{}
	a.vacant = append(a.vacant, uint32(chunk))
}

// view returns the bytes that a reference points to.
func (a *arena) view(p arenaRef) []byte {
	from := p.at + arenaHead
	return a.chunks[p.chunk-1].data[from : from+p.size : from+p.size]
}

// release marks bytes as dead.
func (a *arena) release(p arenaRef) {
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

// evacuate moves live bytes out of chunks that are mostly dead, or a tenth dead if tight is set, for when memory is
// short. where returns the reference that an owner holds; nil: there is no such owner. held says that there are
// references beside those of owners. A chunk with one of them stays, because it would not become empty.
func (a *arena) evacuate(tight, held bool, where func(owner uint32) *arenaRef) {
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

// owned counts the live bytes of a chunk that its owners refer to.
func (a *arena) owned(chunk int, where func(owner uint32) *arenaRef) (bytes int) {
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
