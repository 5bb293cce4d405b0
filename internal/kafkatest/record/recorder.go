package main

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// A request of up to frameBytesGood is the better the larger it is, since it says the more. One that is larger is kept
// where there is no other, up to frameBytesMax.
const (
	frameBytesGood = 640
	frameBytesMax  = 4 << 10
)

// keyApiVersions is the number of the API by which clients say what they are.
const keyApiVersions = 18

// firstNamedVersion is the version of ApiVersions that brought the names of clients, and tags.
const firstNamedVersion = 3

// kind is what requests are told apart by.
type kind struct {
	client       string
	key, version int16
}

// recorder has one request of each kind.
type recorder struct {
	mu     sync.Mutex
	frames map[kind][]byte
}

func newRecorder() *recorder { return &recorder{frames: map[kind][]byte{}} }

// speaker is the client of one connection, as far as it has said what it is.
type speaker struct {
	software string
}

// take looks at a request without its length. What is no request does not count, nor does nil: one that was too large.
func (r *recorder) take(c *speaker, frame []byte) {
	h, ok := parseHeader(frame)
	if !ok {
		return
	}
	if h.key == keyApiVersions && h.version >= firstNamedVersion {
		if name, ok := softwareName(h.rest); ok {
			c.software = name
		}
	}
	k := kind{clientName(c.software, h.clientID), h.key, h.version}
	r.mu.Lock()
	defer r.mu.Unlock()
	if kept := len(r.frames[k]); kept == 0 || better(len(frame), kept) {
		r.frames[k] = slices.Clone(frame)
	}
}

// better compares the sizes of two requests of a kind.
func better(bytes, than int) bool {
	if than > frameBytesGood {
		return bytes < than
	}
	return bytes > than && bytes <= frameBytesGood
}

// header is the beginning of a request.
type header struct {
	key, version int16
	clientID     string
	rest         []byte
}

func parseHeader(frame []byte) (header, bool) {
	if len(frame) < 10 {
		return header{}, false
	}
	h := header{
		key: int16(binary.BigEndian.Uint16(frame)), version: int16(binary.BigEndian.Uint16(frame[2:])), rest: frame[10:],
	}
	if n := int(int16(binary.BigEndian.Uint16(frame[8:]))); n > len(h.rest) {
		return header{}, false
	} else if n > 0 {
		h.clientID, h.rest = string(h.rest[:n]), h.rest[n:]
	}
	return h, true
}

// softwareName reads the name from what follows the client id: no tags, and a compact string.
func softwareName(rest []byte) (string, bool) {
	if len(rest) < 2 || rest[0] != 0 || rest[1] > 0x7f {
		return "", false
	}
	rest, n := rest[2:], int(rest[1])-1
	if n <= 0 || n > len(rest) {
		return "", false
	}
	return string(rest[:n]), true
}

var notInNames = regexp.MustCompile(`[^a-z0-9]+`)

// clientName is the software's name or else the first word of the client id, as the name of a file.
func clientName(software, clientID string) string {
	name := software
	if name == "" {
		name, _, _ = strings.Cut(clientID, "-")
	}
	name = strings.Trim(notInNames.ReplaceAllString(strings.ToLower(name), "-"), "-")
	return cmp.Or(name, "unknown")
}

// write replaces the files of the clients that were heard. Each line has a key, a version and the frame in hex.
func (r *recorder) write(dir string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	files := map[string]*bytes.Buffer{}
	kinds := slices.SortedFunc(maps.Keys(r.frames), func(a, b kind) int {
		return cmp.Or(cmp.Compare(a.client, b.client), cmp.Compare(a.key, b.key), cmp.Compare(a.version, b.version))
	})
	for _, k := range kinds {
		if files[k.client] == nil {
			files[k.client] = new(bytes.Buffer)
		}
		fmt.Fprintf(files[k.client], "%d %d %s\n", k.key, k.version, hex.EncodeToString(r.frames[k]))
	}
	for client, text := range files {
		if err := os.WriteFile(filepath.Join(dir, client+".txt"), text.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}
