package serde_test

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"thalweg/serde"
)

func TestEncoderEncodesAsItsSerde(t *testing.T) {
	encoderEqualsSerde(t, serde.String{}, "some text", "")
	encoderEqualsSerde(t, serde.Bytes{}, []byte("some bytes"), []byte{}, nil)
	encoderEqualsSerde(t, serde.For[int64](), 0, 1<<40)
	encoderEqualsSerde(t, serde.For[[]string](), []string{"a"}, nil)
}

func encoderEqualsSerde[T any](t *testing.T, s serde.Serde[T], values ...T) {
	e := serde.NewEncoder(s)
	for range 2 { // the second time with scratch that was used
		for _, v := range values {
			want, wantErr := s.Append(nil, v)
			got, err := e.Encode(v)
			require.Equal(t, wantErr, err, "%#v", v)
			if err != nil {
				continue
			}
			require.NotNil(t, got, "%#v", v)
			require.Equal(t, string(want), string(got), "%#v", v)
		}
	}
}

func TestEncoderDoesNotCopyText(t *testing.T) {
	text, raw := "some text", []byte("some bytes")
	texts, raws := serde.NewEncoder[string](serde.String{}), serde.NewEncoder[[]byte](serde.Bytes{})
	encoded, err := texts.Encode(text)
	require.NoError(t, err)
	require.Equal(t, unsafe.StringData(text), unsafe.SliceData(encoded))
	encoded, err = raws.Encode(raw)
	require.NoError(t, err)
	require.Equal(t, unsafe.SliceData(raw), unsafe.SliceData(encoded))
	number := int64(7)
	numbers := serde.NewEncoder(serde.For[int64]())
	require.Zero(t, testing.AllocsPerRun(100, func() {
		number++
		_, _ = numbers.Encode(number)
		_, _ = texts.Encode(text)
	}))
}
