package image

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Handover is a kind of handover format that is known by name. A kernel reads only what is
// exactly of its own version.
type Handover struct {
	// Name is what comes before the version.
	Name string
	// Source is where the kernel defines it; those that are no part of a release are from
	// the patches that propose them.
	Source string
	// Loss is what a kernel that has another version, or none, does not take over. It is
	// empty for what luod has nothing to do with.
	Loss string
}

const Everything = "everything"

// Handovers are the kinds that are known.
var Handovers = []Handover{
	{"kho-v", "include/linux/kho/abi/kexec_handover.h: KHO_FDT_COMPATIBLE", Everything},
	{"luo-v", "include/linux/kho/abi/luo.h: LUO_ABI_COMPATIBLE", Everything},
	{"memfd-v", "include/linux/kho/abi/memfd.h: MEMFD_LUO_FH_COMPATIBLE", Everything},
	// Of another version they are made anew (mm/memblock.c: reserve_mem_kho_revive).
	{"memblock-v", "include/linux/kho/abi/memblock.h: MEMBLOCK_KHO_NODE_COMPATIBLE", ""},
	{"reserve-mem-v", "include/linux/kho/abi/memblock.h: RESERVE_MEM_KHO_NODE_COMPATIBLE", ""},
	{"pci-v", "include/linux/kho/abi/pci.h: PCI_LUO_FLB_COMPATIBLE (proposed)", "PCI devices"},
	{"vfio-pci-v", "include/linux/kho/abi/vfio_pci.h: VFIO_PCI_LUO_FH_COMPATIBLE (proposed)", "VFIO devices"},
	{"iommu-v", "include/linux/kho/abi/iommu.h: IOMMU_LUO_FLB_COMPATIBLE (proposed)", "IOMMU domains"},
	{"iommufd-v", "include/linux/kho/abi/iommufd.h (proposed)", "iommufds"},
	{"kvm_vm_luo_v", "include/linux/kho/abi/kvm.h: KVM_LUO_FH_COMPATIBLE (proposed)", "virtual machines"},
	{"kvm_vcpu_luo_v", "include/linux/kho/abi/kvm.h (proposed)", "virtual CPUs"},
	{"guest_memfd_luo_v", "include/linux/kho/abi/kvm.h: GUEST_MEMFD_LUO_FH_COMPATIBLE (proposed)", "guest_memfds"},
	{"eventfd-v", "include/linux/kho/abi/eventfd.h: EVENTFD_LUO_FH_COMPATIBLE (proposed)", "eventfds"},
	{"hugetlb-v", "include/linux/kho/abi/hugetlb.h (proposed)", "huge pages"},
}

// HandoverOf returns the kind that a handover format is of, and false if that is not known:
// then it is something that a later kernel hands over.
func HandoverOf(format string) (Handover, bool) {
	i := slices.IndexFunc(Handovers, func(f Handover) bool {
		rest, is := strings.CutPrefix(format, f.Name)
		return is && rest != "" && rest[0] >= '0' && rest[0] <= '9'
	})
	if i < 0 {
		return Handover{}, false
	}
	return Handovers[i], true
}

var (
	// handoverRest is what follows a known name: the version, and since sub-components have
	// versions of their own, those too.
	handoverRest = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[0-9]{1,4}(;[a-z0-9_;-]{1,64})?\x00`) })
	// newHandover is what looks like a format that the table has not: its name tells what
	// it is for.
	newHandover = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^[a-z0-9_-]{1,40}[_-]v[0-9]{1,4}(;[a-z0-9_;-]{1,64})?$`)
	})
	newHandoverKeys = []string{"luo", "kho", "liveupdate"}
)

// maxFormat bounds one, in bytes.
const maxFormat = 128

// lookForFormats adds the handover formats that are wholly in chunk. Such a string stands
// alone: behind a NUL, or in a structure behind anything binary.
func (f *Facts) lookForFormats(chunk []byte) {
	for _, known := range Handovers {
		for at := range occurrences(chunk, []byte(known.Name)) {
			if at > 0 && printable(chunk[at-1]) {
				continue
			}
			if rest := handoverRest().Find(chunk[at+len(known.Name):]); rest != nil {
				f.addFormat(known.Name + string(rest[:len(rest)-1]))
			}
		}
	}
	for _, key := range newHandoverKeys {
		for at := range occurrences(chunk, []byte(key)) {
			from, to := at, at+len(key)
			for from > 0 && printable(chunk[from-1]) && at-from <= maxFormat {
				from--
			}
			for to < len(chunk) && printable(chunk[to]) && to-at <= maxFormat {
				to++
			}
			if from > 0 && to < len(chunk) && chunk[to] == 0 && newHandover().Match(chunk[from:to]) {
				f.addFormat(string(chunk[from:to]))
			}
		}
	}
}

func printable(b byte) bool { return b > ' ' && b <= '~' }

func (f *Facts) addFormat(name string) {
	if len(f.Handover) < maxFound && !slices.Contains(f.Handover, name) {
		f.Handover = append(f.Handover, name)
	}
}

// occurrences yields where what begins in data.
func occurrences(data, what []byte) func(func(int) bool) {
	return func(yield func(int) bool) {
		for at := 0; ; {
			next := bytes.Index(data[at:], what)
			if next < 0 || !yield(at+next) {
				return
			}
			at += next + 1
		}
	}
}
