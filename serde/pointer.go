package serde

// Pointer returns the serde of *T that encodes what the pointer points to with elem. The nil pointer is null.
func Pointer[T any](elem Serde[T]) Serde[*T] { return pointer[T]{elem} }

type pointer[T any] struct{ elem Serde[T] }

func (p pointer[T]) Append(dst []byte, v *T) ([]byte, error) {
	if v == nil {
		return dst, errNull("pointer")
	}
	return p.elem.Append(dst, *v)
}

func (p pointer[T]) Decode(src []byte) (*T, error) {
	if src == nil {
		return nil, nil
	}
	v, err := p.elem.Decode(src)
	if err != nil {
		return nil, err
	}
	return &v, nil
}

func (p pointer[T]) Local() Serde[*T] { return pointer[T]{Local(p.elem)} }
func (p pointer[T]) Check() error     { return Check(p.elem) }
func (p pointer[T]) size() int        { return sizeOf(p.elem) }
