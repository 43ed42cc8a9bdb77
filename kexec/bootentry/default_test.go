package bootentry

import "testing"

func TestDefault(t *testing.T) {
	for _, c := range []struct {
		name string
		// set sets what there is besides the entries a, b, c and d, of which a
		// is the first and d has no tries left.
		set  func(machine)
		want string
	}{
		{"the first", func(m machine) {}, "a.conf"},
		{"one shot", func(m machine) {
			m.variable("LoaderEntryOneShot", "b.conf")
			m.variable("LoaderEntryPreferred", "c.conf")
			m.variable("LoaderEntryDefault", "c.conf")
		}, "b.conf"},
		{"preferred variable", func(m machine) {
			m.variable("LoaderEntryPreferred", "c.conf")
			m.variable("LoaderEntryDefault", "b.conf")
		}, "c.conf"},
		{"preferred variable, used up", func(m machine) {
			m.variable("LoaderEntryPreferred", "d.conf")
			m.variable("LoaderEntryDefault", "b.conf")
		}, "b.conf"},
		{"default variable", func(m machine) {
			m.variable("LoaderEntryDefault", "C.conf")
			m.write("boot/loader/loader.conf", "preferred b.conf\ndefault b.conf\n")
		}, "c.conf"},
		{"default variable, used up", func(m machine) { m.variable("LoaderEntryDefault", "d.conf") }, "d.conf"},
		{"a variable that names nothing", func(m machine) {
			m.variable("LoaderEntryOneShot", "windows.conf")
			m.variable("LoaderEntryDefault", "auto-windows")
		}, "a.conf"},
		{"a broken variable", func(m machine) {
			m.write("sys/firmware/efi/efivars/LoaderEntryOneShot-"+loaderVendor, "abc")
			m.write("sys/firmware/efi/efivars/LoaderEntryDefault-"+loaderVendor, "\x06\x00\x00\x00b\x00.")
		}, "a.conf"},
		{"loader.conf", func(m machine) { m.write("boot/loader/loader.conf", "# x\ntimeout 3\n\ndefault\tC.*\n") }, "c.conf"},
		{"loader.conf preferred", func(m machine) { m.write("boot/loader/loader.conf", "default c.conf\npreferred b.conf\n") }, "b.conf"},
		{"loader.conf preferred, used up", func(m machine) { m.write("boot/loader/loader.conf", "default c.conf\npreferred d.conf\n") }, "c.conf"},
		{"loader.conf bracket", func(m machine) { m.write("boot/loader/loader.conf", "default [!ab].conf\n") }, "c.conf"},
		{"loader.conf without the suffix", func(m machine) { m.write("boot/loader/loader.conf", "default c\n") }, "a.conf"},
		{"loader.conf broken pattern", func(m machine) { m.write("boot/loader/loader.conf", "default [c\n") }, "a.conf"},
		{"loader.conf special", func(m machine) { m.write("boot/loader/loader.conf", "default @something\n") }, "a.conf"},
		{"saved, nothing is", func(m machine) { m.write("boot/loader/loader.conf", "default @saved\n") }, "a.conf"},
		{"saved", func(m machine) {
			m.write("boot/loader/loader.conf", "default @saved\n")
			m.variable("LoaderEntrySelected", "c.conf")
		}, "c.conf"},
		{"loader.conf of the ESP", func(m machine) {
			m.write("efi/loader/loader.conf", "default c.conf\n")
			m.write("boot/loader/loader.conf", "default b.conf\n")
		}, "c.conf"},
		{"another machine's, chosen", func(m machine) { m.variable("LoaderEntryDefault", "other.conf") }, "other.conf"},
		{"a rescue kernel, chosen", func(m machine) { m.variable("LoaderEntryDefault", "a-rescue.conf") }, "a-rescue.conf"},
		{"a plain kernel can't be chosen", func(m machine) { m.variable("LoaderEntryDefault", "vmlinuz-1") }, "a.conf"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t)
			m.kernels("boot/linux", "boot/vmlinuz-1")
			for _, e := range []struct{ file, key, id string }{
				{"a", "3", ownID}, {"b", "4", ""}, {"c", "5", ownID}, {"d+0-3", "0", ownID}, {"a-rescue", "1", ownID}, {"other", "2", otherID},
			} {
				text := "linux /linux\nsort-key " + e.key + "\n"
				if e.id != "" {
					text += "machine-id " + e.id + "\n"
				}
				m.write(conf+e.file+".conf", text)
			}
			c.set(m)
			if got := defaultOf(m.clean()); got != c.want {
				t.Errorf("the default is %q, want %q", got, c.want)
			}
		})
	}
}

func TestDefaultOfFew(t *testing.T) {
	own, other := "linux /linux\nmachine-id "+ownID+"\n", "linux /linux\nmachine-id "+otherID+"\n"
	for _, c := range []struct {
		name string
		set  func(machine)
		want string
	}{
		{"nothing", func(m machine) {}, ""},
		{"only used up", func(m machine) { m.write(conf+"a+0.conf", own) }, "a.conf"},
		{"used up, and a plain one", func(m machine) { m.write(conf+"a+0.conf", own); m.kernels("boot/vmlinuz-1") }, "vmlinuz-1"},
		{"only another machine's", func(m machine) { m.write(conf+"a.conf", other) }, ""},
		{"another machine's, and used up", func(m machine) { m.write(conf+"a.conf", other); m.write(conf+"b+0.conf", own) }, "b.conf"},
		{"another machine's, and this is unknown", func(m machine) {
			m.write(conf+"a.conf", other)
			m.write("etc/machine-id", "uninitialized\n")
		}, "a.conf"},
		{"only rescue", func(m machine) { m.write(conf+"rescue.conf", own); m.kernels("boot/vmlinuz-0-rescue-1") }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t)
			m.kernels("boot/linux")
			c.set(m)
			if got := defaultOf(m.clean()); got != c.want {
				t.Errorf("the default is %q, want %q", got, c.want)
			}
		})
	}
}
