// Package printable makes text of others fit for a terminal. What a service or a user has
// called something may be made to move the cursor, to hide what comes before, or to look
// like the program's own words; escaped it is only odd.
package printable

import (
	"fmt"
	"reflect"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Line returns s with everything escaped that is not printed as itself, line breaks too,
// as a Go string literal has it: \x1b, \n, \u202e. What is no UTF-8 is escaped byte by byte.
func Line(s string) string { return escape(s, false) }

// Text is Line for text that may have several lines.
func Text(s string) string { return escape(s, true) }

func escape(s string, lines bool) string {
	odd := func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) && !(lines && r == '\n') }
	if strings.IndexFunc(s, odd) < 0 {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1, r < 0x20 && r != '\n', r == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case r == '\n' && !lines:
			b.WriteString(`\n`)
		case !odd(r):
			b.WriteString(s[:n])
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		s = s[n:]
	}
	return b.String()
}

// All returns v with Text in place of every string in it, in slices, arrays, maps, structs
// and what interfaces and pointers hold. What is not exported stays as it is, unless open
// knows its type: it returns what to put in place of a value, and whether it does; nil knows
// none.
func All[T any](v T, open func(any) (any, bool)) T {
	var out T
	if value := reflect.ValueOf(&v).Elem(); value.Kind() != reflect.Interface || !value.IsNil() {
		reflect.ValueOf(&out).Elem().Set(opener(open).all(value))
	}
	return out
}

type opener func(any) (any, bool)

func (o opener) all(v reflect.Value) reflect.Value {
	if o != nil && v.CanInterface() {
		if other, is := o(v.Interface()); is {
			return reflect.ValueOf(other)
		}
	}
	switch v.Kind() {
	case reflect.String:
		return reflect.ValueOf(Text(v.String())).Convert(v.Type())
	case reflect.Interface, reflect.Pointer:
		if v.IsNil() {
			return v
		}
		out := reflect.New(v.Type()).Elem()
		if v.Kind() == reflect.Interface {
			out.Set(o.all(v.Elem()))
			return out
		}
		to := reflect.New(v.Type().Elem())
		to.Elem().Set(o.all(v.Elem()))
		return to
	case reflect.Slice:
		if v.IsNil() {
			return v
		}
		out := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		for i := range v.Len() {
			out.Index(i).Set(o.all(v.Index(i)))
		}
		return out
	case reflect.Array:
		out := reflect.New(v.Type()).Elem()
		for i := range v.Len() {
			out.Index(i).Set(o.all(v.Index(i)))
		}
		return out
	case reflect.Map:
		if v.IsNil() {
			return v
		}
		out := reflect.MakeMapWithSize(v.Type(), v.Len())
		for i := v.MapRange(); i.Next(); {
			out.SetMapIndex(o.all(i.Key()), o.all(i.Value()))
		}
		return out
	case reflect.Struct:
		out := reflect.New(v.Type()).Elem()
		out.Set(v)
		for i := range v.NumField() {
			if f := out.Field(i); f.CanSet() {
				f.Set(o.all(v.Field(i)))
			}
		}
		return out
	}
	return v
}
