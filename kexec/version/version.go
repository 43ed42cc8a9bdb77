// Package version orders versions as the boot loader does, so that the default entry is the
// one that it would boot.
package version

import (
	"cmp"
	"strings"
)

// Compare compares as the Version Format Specification (UAPI.10) says,
// and strverscmp_improved of systemd. The digits of a number count by value, '~'
// is before everything, even the end, and then come '-', '^' and '.'; what is no
// part of a version separates only.
func Compare(a, b string) int {
	for {
		a, b = trimSeparators(a), trimSeparators(b)
		if c, done := compareSpecial(&a, &b, '~'); done {
			return c
		}
		if a == "" || b == "" {
			return cmp.Compare(min(len(a), 1), min(len(b), 1))
		}
		for _, special := range []byte("-^.") {
			if c, done := compareSpecial(&a, &b, special); done {
				return c
			}
		}
		if isDigit(a) || isDigit(b) {
			// UAPI.10 has a missing number for 0, systemd for less than 0; the
			// boot loader is systemd's.
			na, nb := span(&a, isDigitByte), span(&b, isDigitByte)
			na0, nb0 := strings.TrimLeft(na, "0"), strings.TrimLeft(nb, "0")
			if c := cmp.Or(cmp.Compare(min(len(na), 1), min(len(nb), 1)), cmp.Compare(len(na0), len(nb0)), strings.Compare(na0, nb0)); c != 0 {
				return c
			}
			continue
		}
		// Capital letters sort before small ones, as in ASCII; a longer word is
		// newer than its beginning.
		if c := strings.Compare(span(&a, isLetterByte), span(&b, isLetterByte)); c != 0 {
			return c
		}
	}
}

// compareSpecial decides if only one side has c next; both skip it if both have.
func compareSpecial(a, b *string, c byte) (result int, decided bool) {
	hasA, hasB := strings.HasPrefix(*a, string(c)), strings.HasPrefix(*b, string(c))
	switch {
	case hasA && hasB:
		*a, *b = (*a)[1:], (*b)[1:]
	case hasA:
		return -1, true
	case hasB:
		return 1, true
	}
	return 0, false
}

func isDigitByte(c byte) bool  { return c >= '0' && c <= '9' }
func isLetterByte(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
func isDigit(s string) bool    { return s != "" && isDigitByte(s[0]) }

func trimSeparators(s string) string {
	for s != "" && !isDigitByte(s[0]) && !isLetterByte(s[0]) && strings.IndexByte("~-^.", s[0]) < 0 {
		s = s[1:]
	}
	return s
}

func span(s *string, is func(byte) bool) string {
	n := 0
	for n < len(*s) && is((*s)[n]) {
		n++
	}
	taken := (*s)[:n]
	*s = (*s)[n:]
	return taken
}
