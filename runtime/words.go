package runtime

import (
	"fmt"
	"strings"
)

// MarshalText returns the word of [Guarantee.String], for JSON, flags, and configuration files.
func (g Guarantee) MarshalText() ([]byte, error) { return word(g, g <= AtLeastOnce) }

// UnmarshalText reads what MarshalText writes.
func (g *Guarantee) UnmarshalText(text []byte) error {
	return ofWord(g, text, ExactlyOnce, AtLeastOnce)
}

// MarshalText returns the word of [Compression.String], for JSON, flags, and configuration files.
func (c Compression) MarshalText() ([]byte, error) { return word(c, c <= Zstd) }

// UnmarshalText reads what MarshalText writes.
func (c *Compression) UnmarshalText(text []byte) error {
	return ofWord(c, text, NoCompression, Gzip, Snappy, LZ4, Zstd)
}

// MarshalText returns the word of [State.String], for JSON.
func (s State) MarshalText() ([]byte, error) { return word(s, s <= Failed) }

func word[T fmt.Stringer](v T, known bool) ([]byte, error) {
	if !known {
		return nil, fmt.Errorf("runtime: %v has no word", v)
	}
	return []byte(v.String()), nil
}

// ofWord sets v to the value that has the word, and names all words where none has.
func ofWord[T fmt.Stringer](v *T, text []byte, values ...T) error {
	var words []string
	for _, value := range values {
		if value.String() == string(text) {
			*v = value
			return nil
		}
		words = append(words, value.String())
	}
	return fmt.Errorf("runtime: %q is none of %s", text, strings.Join(words, ", "))
}
