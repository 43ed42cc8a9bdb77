package bootentry

import (
	"strconv"
	"strings"
)

// uncount splits a boot counter off a file's name: NAME+LEFT[-DONE].SUFFIX
// (UAPI.1 "Boot counting"). What is no counter stays. As bootspec.c
// (boot_filename_extract_tries), it takes numbers up to that of a C int.
func uncount(file string) (name string, left, done int) {
	dot := strings.LastIndexByte(file, '.')
	if dot < 0 {
		return file, -1, -1
	}
	stem, suffix := file[:dot], file[dot:]
	plus := strings.LastIndexByte(stem, '+')
	if plus < 0 {
		return file, -1, -1
	}
	leftText, doneText, hasDone := strings.Cut(stem[plus+1:], "-")
	left, ok := number(leftText)
	if !ok {
		return file, -1, -1
	}
	if hasDone {
		if done, ok = number(doneText); !ok {
			return file, -1, -1
		}
	}
	return stem[:plus] + suffix, left, done
}

func number(text string) (int, bool) {
	n, err := strconv.ParseUint(text, 10, 31)
	return int(n), err == nil
}
