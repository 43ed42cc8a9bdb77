package manifest

import "bytes"

// plain reads what Encode writes of most manifests: its fields in their order, no
// blanks, no escapes, and nobody left behind or with sessions of its own. It is
// several times quicker than encoding/json, which matters with many descriptors,
// because services wait for it. It says false to everything else, which is no error:
// encoding/json has the last word, and FuzzDecode compares the two.
func plain(body []byte) (*Manifest, bool) {
	p := &scanner{rest: body, ok: true}
	m := new(Manifest)
	p.literal(`{"generation":`)
	m.Generation = p.number()
	p.literal(`,"oldKernel":`)
	m.OldKernel = p.text("")
	p.literal(`,"oldBootID":`)
	m.OldBootID = p.text("")
	p.literal(`,"timeLine":`)
	m.TimeLine = list(p, func() (mark Mark) {
		p.literal(`{"name":`)
		mark.Name = p.text("")
		p.literal(`,"usec":`)
		mark.Usec = int64(p.number())
		p.literal(`}`)
		return mark
	})
	p.literal(`,"units":`)
	session, sum := "", ""
	m.Units = list(p, func() (u Unit) {
		p.literal(`{"name":`)
		u.Name = p.text("")
		p.literal(`,"files":`)
		u.Files = list(p, func() (f File) {
			p.literal(`{"name":`)
			f.Name = p.text("")
			p.literal(`,"session":`)
			session = p.text(session)
			f.Session = session
			p.literal(`,"token":`)
			f.Token = p.number()
			p.literal(`,"size":`)
			f.Size = int64(p.number())
			p.literal(`,"seals":`)
			f.Seals = int(p.number())
			p.literal(`,"flags":`)
			f.Flags = int(p.number())
			if p.next(`,"sha256":`) {
				sum = p.text(sum)
				f.SHA256 = sum
			}
			p.literal(`}`)
			return f
		})
		p.literal(`}`)
		return u
	})
	p.literal(`}`)
	return m, p.ok && len(p.rest) == 0
}

// scanner goes on after a mismatch without moving, so that only the end is to be
// looked at.
type scanner struct {
	rest []byte
	ok   bool
}

// next takes text if it comes next.
func (p *scanner) next(text string) bool {
	if !p.ok || len(p.rest) < len(text) || string(p.rest[:len(text)]) != text {
		return false
	}
	p.rest = p.rest[len(text):]
	return true
}

func (p *scanner) literal(text string) { p.ok = p.next(text) }

// number takes a number that fits whatever it is for: 2^31 - 1 has 10 digits, and
// 2^63 - 1 has 19.
func (p *scanner) number() (n uint64) {
	digits := 0
	for digits < len(p.rest) && p.rest[digits] >= '0' && p.rest[digits] <= '9' {
		n = 10*n + uint64(p.rest[digits]-'0')
		if digits++; digits > 18 {
			p.ok = false
			return 0
		}
	}
	if digits == 0 || digits > 1 && p.rest[0] == '0' {
		p.ok = false
		return 0
	}
	p.rest = p.rest[digits:]
	return n
}

// text takes a string of printable ASCII, and returns last if it is the same: most
// files have the session of the one before.
func (p *scanner) text(last string) string {
	if !p.next(`"`) {
		p.ok = false
		return ""
	}
	end := bytes.IndexByte(p.rest, '"')
	for i := range max(end, 0) {
		if c := p.rest[i]; c < ' ' || c > '~' || c == '\\' {
			end = -1
			break
		}
	}
	if end < 0 {
		p.ok = false
		return ""
	}
	text := p.rest[:end]
	p.rest = p.rest[end+1:]
	if string(text) == last {
		return last
	}
	return string(text)
}

// list takes an array, or null, which is no array.
func list[T any](p *scanner, one func() T) []T {
	if p.next(`null`) {
		return nil
	}
	p.literal(`[`)
	all := []T{}
	if p.next(`]`) {
		return all
	}
	for p.ok {
		all = append(all, one())
		if !p.next(`,`) {
			break
		}
	}
	p.literal(`]`)
	return all
}
