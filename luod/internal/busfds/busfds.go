// Package busfds finds the file descriptors in the body of a message. The library leaves them
// to whoever looks at the body, and nobody looks at all of it.
package busfds

import (
	"reflect"

	"github.com/godbus/dbus/v5"
)

// Collect adds every descriptor in v, however deep, to into.
func Collect(v any, into map[dbus.UnixFD]bool) { collect(reflect.ValueOf(v), into) }

func collect(v reflect.Value, into map[dbus.UnixFD]bool) {
	switch v.Kind() {
	case reflect.Interface:
		collect(v.Elem(), into)
	case reflect.Slice:
		for i := range v.Len() {
			collect(v.Index(i), into)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			collect(v.MapIndex(key), into)
		}
	case reflect.Struct:
		if variant, ok := v.Interface().(dbus.Variant); ok {
			collect(reflect.ValueOf(variant.Value()), into)
		}
	case reflect.Int32:
		if fd, ok := v.Interface().(dbus.UnixFD); ok {
			into[fd] = true
		}
	}
}
