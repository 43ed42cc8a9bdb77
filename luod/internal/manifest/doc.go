// Package manifest is what one kernel's luod tells the next: which session
// holds which descriptor of which unit. It is a line with a version, a length
// and a SHA-256, then that many bytes of gob (encoding/gob), to
// which fields can be added: a reader takes those that it knows. A manifest that is damaged or of
// an unknown newer version is refused whole, because half a map gives memory to
// the wrong service.
package manifest
