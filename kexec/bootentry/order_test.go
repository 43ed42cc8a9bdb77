package bootentry

import "testing"

func TestOrder(t *testing.T) {
	entry := func(sortKey, machineID, version string) string {
		text := "linux /linux\n"
		if sortKey != "" {
			text += "sort-key " + sortKey + "\n"
		}
		if machineID != "" {
			text += "machine-id " + machineID + "\n"
		}
		return text + "version " + version + "\n"
	}
	m := newMachine(t)
	m.kernels("boot/linux", "boot/vmlinuz-99")
	m.write(conf+"used-up+0-3.conf", entry("arch", "", "9"))
	m.write(conf+"counted+1-2.conf", entry("arch", "", "3"))
	m.write(conf+"a.conf", entry("arch", "", "1"))
	m.write(conf+"b.conf", entry("arch", "", "2"))
	m.write(conf+"c.conf", entry("debian", otherID, "9"))
	m.write(conf+"d.conf", entry("debian", ownID, "10.1"))
	m.write(conf+"e.conf", entry("debian", ownID, "9.9"))
	m.write(conf+"f.conf", entry("debian", ownID, "9.9~rc1"))
	m.write(conf+"old-10.conf", entry("", ownID, "1"))
	m.write(conf+"old-9.conf", entry("", ownID, "2"))
	m.uki("boot/EFI/Linux/u.efi", ".linux=k", ".osrel=ID=debian\nIMAGE_VERSION=11\n")
	m.uki("boot/EFI/Linux/old-9.1.efi", ".linux=k", ".profile=ID=x", ".profile=TITLE=y")
	entries := m.clean()
	m.expectIDs(entries, "counted.conf", "b.conf", "a.conf", "u.efi", "c.conf", "d.conf", "e.conf", "f.conf",
		"old-10.conf", "old-9.1.efi@x", "old-9.1.efi@1", "old-9.conf", "used-up.conf", "vmlinuz-99")
	if got := defaultOf(entries); got != "counted.conf" {
		t.Errorf("the default is %s", got)
	}
}

// Of one entry with several counters, the one with more tries is better.
func TestOrderCounted(t *testing.T) {
	m := newMachine(t)
	m.kernels("boot/linux")
	for _, name := range []string{"a+1-4.conf", "a+2-3.conf", "a+0-5.conf", "a+2-1.conf"} {
		m.write(conf+name, "linux /linux\n")
	}
	var sources []string
	for _, e := range m.clean() {
		if e.ID != "a.conf" {
			t.Errorf("the ID is %s", e.ID)
		}
		sources = append(sources, e.Source)
	}
	m.expectPaths(sources, conf+"a+2-1.conf", conf+"a+2-3.conf", conf+"a+1-4.conf", conf+"a+0-5.conf")
}
