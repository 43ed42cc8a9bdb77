package busconn

import (
	"errors"
	"fmt"
)

const (
	// maxEntries is how many entries an array of arguments may have, and maxOptions a
	// dictionary of options.
	maxEntries, maxOptions = 16384, 64
)

// Arguments reads the body of a call whose signature is known: whoever reads it has compared
// it with what it reads. Of what is not as it should be it reads no more, and Err says why.
type Arguments struct {
	r   reader
	err error
}

// Arguments are those of the message.
func (m *Message) Arguments() *Arguments {
	order, err := byteOrder(m.raw[0])
	// Alignment counts from the beginning of the body, which is at a multiple of 8.
	return &Arguments{r: reader{b: m.raw[m.bodyAt:], order: order}, err: err}
}

// Err says what is wrong with what was read so far.
func (a *Arguments) Err() error {
	if a.err == nil && a.r.short {
		a.err = errShort
	}
	return a.err
}

func (a *Arguments) fail(err error) {
	if a.Err() == nil {
		a.err = err
	}
}

// Text reads a string: s.
func (a *Arguments) Text() string {
	if a.Err() != nil {
		return ""
	}
	text, _, err := a.r.value("s")
	if err != nil {
		a.fail(err)
	}
	return text
}

// Number reads a number: t.
func (a *Arguments) Number() uint64 {
	if a.Err() != nil {
		return 0
	}
	a.r.align(8)
	return a.r.order.Uint64(a.r.take(8))
}

// Flag reads a boolean: b.
func (a *Arguments) Flag() bool {
	if a.Err() != nil {
		return false
	}
	n := a.r.uint32()
	if n > 1 {
		a.fail(fmt.Errorf("a boolean is %d", n))
	}
	return n == 1
}

// Index reads which of the message's descriptors is meant: h.
func (a *Arguments) Index() uint32 {
	if a.Err() != nil {
		return 0
	}
	return a.r.uint32()
}

// Each reads an array whose elements, at multiples of alignment, read reads.
func (a *Arguments) Each(alignment, most int, read func()) {
	if a.Err() != nil {
		return
	}
	n := int64(a.r.uint32())
	a.r.align(alignment)
	if a.Err() != nil || n > int64(len(a.r.b)-a.r.at) {
		a.fail(errShort)
		return
	}
	end := a.r.at + int(n)
	for count := 0; a.r.at < end && a.Err() == nil; count++ {
		if count == most {
			a.fail(fmt.Errorf("an array has more than %d entries", most))
			return
		}
		a.r.align(alignment)
		before := a.r.at
		read()
		if a.r.at == before {
			a.fail(errors.New("an array has an entry of no length"))
		}
	}
	if a.Err() == nil && a.r.at != end {
		a.fail(errors.New("an array does not end where it says"))
	}
}

// Texts reads an array of strings: as.
func (a *Arguments) Texts() []string {
	list := []string{}
	a.Each(4, maxEntries, func() { list = append(list, a.Text()) })
	return list
}

// Named reads an array of descriptors with names: a(sh). A number is that of the descriptor
// in the message.
func (a *Arguments) Named() (names []string, indexes []uint32) {
	a.Each(8, maxEntries, func() {
		names = append(names, a.Text())
		indexes = append(indexes, a.Index())
	})
	return names, indexes
}

// Options reads a dictionary of options: a{sv}. read is to read the value by its signature,
// and returns an error for one that it does not know.
func (a *Arguments) Options(read func(name, signature string) error) {
	a.Each(8, maxOptions, func() {
		name := a.Text()
		signature := a.r.signature()
		if a.Err() != nil {
			return
		}
		if err := read(name, signature); err != nil {
			a.fail(err)
		}
	})
}
