package main

import (
	"bytes"
	"io"
	"strings"
)

// maxLine bounds what is kept of a line, in bytes; a longer one comes out as
// several. It is a half of what journald takes for a line (LineMax=,
// journald.conf(5)).
const maxLine = 24 << 10

// maxLast bounds what is reported of the last line, in bytes: enough to read.
const maxLast = 400

// prefixer puts a name in front of every line on the way to w, and remembers the
// last line that isn't blank.
type prefixer struct {
	w    io.Writer
	name string
	rest []byte
	last string
}

// Write never fails: a journal that is gone is no reason to stop a hook.
func (p *prefixer) Write(data []byte) (int, error) {
	p.rest = append(p.rest, data...)
	for {
		end := bytes.IndexByte(p.rest, '\n')
		switch {
		case end >= 0 && end <= maxLine:
			p.line(p.rest[:end])
			p.rest = p.rest[end+1:]
		case len(p.rest) > maxLine:
			p.line(p.rest[:maxLine])
			p.rest = p.rest[maxLine:]
		default:
			return len(data), nil
		}
	}
}

// finish puts out what came without a newline.
func (p *prefixer) finish() {
	if len(p.rest) > 0 {
		p.line(p.rest)
		p.rest = nil
	}
}

func (p *prefixer) line(text []byte) {
	_, _ = p.w.Write(append([]byte(p.name+": "), append(bytes.Clone(text), '\n')...))
	if s := strings.TrimSpace(string(text)); s != "" {
		p.last = s[:min(len(s), maxLast)]
	}
}

// lastLine is fit for STATUS= (sd_notify(3)): systemd takes only UTF-8, and no
// control characters help there.
func (p *prefixer) lastLine() string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(p.last, "?"))
}
