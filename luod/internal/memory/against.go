package memory

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/liveupdate/luod/luod/internal/vault"
)

// Shortage says that there is too little memory.
type Shortage struct {
	// Needed and Usable are in bytes, and Whose is who limits it.
	Needed, Usable int64
	Whose          string
	// What is what it is needed for, and Most the units that need the most of it.
	What string
	Most []Share
}

// Share is what one unit needs, and its file that needs the most.
type Share struct {
	Unit, Name string
	Bytes      int64
}

func (s *Shortage) Error() string {
	var most []string
	for _, m := range s.Most {
		most = append(most, fmt.Sprintf("%s (%s, the most of it for %q)", m.Unit, size(m.Bytes), m.Name))
	}
	return fmt.Sprintf("%s takes %s and %s are free %s, so %s more are needed; it is for %s", s.What, size(s.Needed), size(s.Usable), s.Whose, size(s.Needed-s.Usable), strings.Join(most, ", "))
}

// Remedy is what to do against a shortage.
const Remedy = "free memory, have the service release it or hand over a memfd without holes, or give it up with 'luoctl discard'"

// shown is how many units an error names.
const shown = 3

// Against decides whether there is room for d: nil, or a *Shortage. Where there is but
// for copies that can be spared, it returns those files that have to do without.
func (d Demand) Against(a Available) (superset map[*vault.File]bool, err error) {
	usable, whose := a.usable()
	if needed := d.sum(Item.packing); needed > usable {
		return nil, d.short(needed, usable, whose, "packing what is held", Item.packing)
	}
	// The next kernel charges all that comes back to luod (mm/memfd_luo.c:
	// memfd_luo_retrieve_folios), and what doesn't fit is lost.
	after := func(i Item) int64 { return add(i.Size, i.Copy) }
	limit, of := int64(1<<63-1), ""
	for _, g := range a.Groups {
		if g.Limit < limit {
			limit, of = g.Limit, "as the memory limit of "+g.Name
		}
	}
	spared := 0
	kept := slices.Clone(d)
	// Without the largest first, so that it is as few as can be.
	order := make([]int, 0, len(kept))
	for i, item := range kept {
		if item.Spare && item.Copy > 0 {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(kept[j].Copy, kept[i].Copy) })
	all := func(i Item) int64 { return add(i.packing(), i.Copy) }
	for {
		needed, later := kept.sum(all), kept.sum(after)
		if needed <= usable && later <= limit {
			return superset, nil
		}
		if spared == len(order) {
			if later > limit {
				return nil, kept.short(later, limit, of, "what comes back, which is all charged to luod,", after)
			}
			return nil, kept.short(needed, usable, whose, "packing what is held, and copying what has MFD_NOEXEC_SEAL afterwards,", all)
		}
		if superset == nil {
			superset = map[*vault.File]bool{}
		}
		superset[kept[order[spared]].File] = true
		kept[order[spared]].Copy = 0
		spared++
	}
}

func (d Demand) sum(of func(Item) int64) int64 {
	sum := int64(0)
	for _, i := range d {
		sum = add(sum, of(i))
	}
	return sum
}

func (d Demand) short(needed, usable int64, whose, what string, of func(Item) int64) *Shortage {
	units := map[string]Share{}
	largest := map[string]int64{}
	for _, i := range d {
		u := units[i.File.Unit]
		if n := of(i); u.Name == "" || n > largest[i.File.Unit] {
			largest[i.File.Unit], u.Name = n, i.File.Name
		}
		u.Unit, u.Bytes = i.File.Unit, add(u.Bytes, of(i))
		units[i.File.Unit] = u
	}
	most := slices.SortedFunc(maps.Values(units), func(a, b Share) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Unit, b.Unit))
	})
	return &Shortage{Needed: needed, Usable: usable, Whose: whose, What: what, Most: most[:min(len(most), shown)]}
}

// Summary says what d takes, for who wants to know.
func (d Demand) Summary(a Available) string {
	usable, whose := a.usable()
	text := fmt.Sprintf("%s are needed to pack what is held", size(d.sum(Item.packing)))
	if copies := d.sum(func(i Item) int64 { return i.Copy }); copies > 0 {
		text += fmt.Sprintf(", and %s to copy what has MFD_NOEXEC_SEAL afterwards", size(copies))
	}
	return fmt.Sprintf("%s; %s are free %s", text, size(usable), whose)
}

// size is a number of bytes as systemctl shows it.
func size(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n)/1024, 0
	for f >= 1024 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	return fmt.Sprintf("%.1f %ciB", f, units[i])
}
